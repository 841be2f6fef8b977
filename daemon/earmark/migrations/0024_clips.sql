-- Clips of streams leave for S3 beside the hits that they prove.
-- oldest-daemon: 6
--
-- They are bytes, and would be a third more as text. A daemon that does not know them does not take them either: their target is one of
-- its own.

alter table outbox add column content bytea;                   -- in place of the body; null: what leaves is text
alter table outbox alter content set storage external;         -- coded sound cannot be packed any further
alter table outbox drop constraint outbox_target_check;
alter table outbox add constraint outbox_target_check
  check (target in ('s3', 'sns', 'check', 'clip', 'webhook', 'eventbridge', 'ivs_metadata', 'ivs_stop'));
