"""The objects of a bucket are the catalogue: created, replaced and deleted ones become its recordings."""
