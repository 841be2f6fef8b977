-- What belongs together says so: one id in all that is logged, stored and sent of a stream.
-- oldest-daemon: 6
--
-- It is the id of the EventBridge event that told of the stream first. Where no event did (a sweep, the settings, a classic
-- S3 notification), and for streams that an older daemon opens, the row makes one. Rows of before have none until they are claimed.

alter table stream add column trace_id text;
alter table stream alter trace_id set default gen_random_uuid()::text;   -- apart: in one step it would write the whole table anew
alter table outbox add column trace_id text not null default '';         -- its rows outlive nothing, but stand alone in the log when they fail
