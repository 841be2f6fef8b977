-- What proves each play, kept beside its hit.
-- oldest-daemon: 2

alter table play add column evidence json;  -- as in config/schema/evidence.v1.json, as text: TOAST packs it well; null: none was kept
