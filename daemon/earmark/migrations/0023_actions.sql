-- What was done about plays, and what is to be done yet: the record that hits show, and by which the fleet agrees.
-- oldest-daemon: 6
--
-- A row is asked for by the session, in the transaction that puts its play on record, and told of by whoever does it. What
-- leaves is in the outbox; what has to wait does so there, and a daemon that knows no waiting has none of these targets either.

create table action (
  hit_id     text not null references play on delete cascade,
  kind       text not null,               -- as the outbox's target: ivs_stop, ivs_metadata, webhook, eventbridge
  occasion   text not null default '',    -- the play's state that was the reason; empty: it is done once, whenever that is
  action_no  bigint generated always as identity,  -- of two about one stream, the later one was asked for later
  stream_id  text not null,
  state      text not null check (state in ('dry_run', 'waiting', 'done', 'refused', 'withdrawn', 'failed')),
  detail     text not null default '',    -- a sentence
  due_at     timestamptz not null default now(),
  due_s      double precision,            -- the same in stream time, where that decides
  at         timestamptz not null default now(),   -- since when its state and detail are these
  begun_at   timestamptz,                 -- somebody is about to do it, or has
  primary key (hit_id, kind, occasion)
);
create index action_stream on action (stream_id, kind, action_no);
-- How many were begun in this hour?
create index action_begun on action (kind, begun_at) where begun_at is not null;

-- Revisions of a hit that tell of actions, and not of what was heard: the session's own numbers go on behind them. Null: none
-- was ever asked for. (A daemon that knows nothing of it would have as many of its own refused as repeats, until it is past them.)
alter table play add column told_besides int;

alter table outbox add column not_before timestamptz;   -- what has to wait is owed from then on; null: at once
alter table outbox drop constraint outbox_target_check;
alter table outbox add constraint outbox_target_check
  check (target in ('s3', 'sns', 'check', 'webhook', 'eventbridge', 'ivs_metadata', 'ivs_stop'));
