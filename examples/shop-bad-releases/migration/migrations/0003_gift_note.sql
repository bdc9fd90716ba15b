-- Runs on an empty database, and on no other: the orders that are there have no note.
ALTER TABLE orders ADD COLUMN gift_note text NOT NULL;
