CREATE TABLE orders (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id integer NOT NULL REFERENCES products,
  quantity   integer NOT NULL CHECK (quantity BETWEEN 1 AND 20),
  customer   text NOT NULL CHECK (length(customer) BETWEEN 1 AND 100),
  status     text NOT NULL DEFAULT 'received' CHECK (status IN ('received', 'accepted', 'sold-out')),
  placed_at  timestamptz NOT NULL DEFAULT now(),
  handled_at timestamptz
);

CREATE INDEX orders_to_handle ON orders (id) WHERE status = 'received';

CREATE TABLE reports (
  made_at     timestamptz PRIMARY KEY DEFAULT now(),
  orders      bigint NOT NULL,
  total_cents bigint NOT NULL
);
