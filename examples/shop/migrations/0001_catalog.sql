CREATE TABLE products (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slug        text NOT NULL UNIQUE,
  name        text NOT NULL,
  description text NOT NULL,
  price_cents integer NOT NULL CHECK (price_cents > 0),
  stock       integer NOT NULL CHECK (stock >= 0)
);

INSERT INTO products (slug, name, description, price_cents, stock) VALUES
  ('kettle', 'Enamel kettle', 'Two litres, sings when it boils.', 4900, 40),
  ('lamp', 'Reading lamp', 'Brass arm, warm light, stays where you put it.', 12900, 15),
  ('stool', 'Three-legged stool', 'Ash, oiled. Never wobbles, by geometry.', 8900, 25),
  ('blanket', 'Wool blanket', 'Woven in one piece, 140 by 200 centimetres.', 15900, 10);
