-- How rounds of the canary went: a stream of our own, with a known recording in it, through everything that a stream goes through.
-- oldest-daemon: 6
--
-- One round at a time in the whole fleet: who begins one finds no other that is under way. Rows are kept for some weeks, by
-- whoever writes the next.

create table canary_round (
  round_id   text primary key,                      -- its stream is called canary:<round_id>
  runner     text not null,                         -- who looks after it
  began_at   timestamptz not null default now(),
  until      timestamptz not null,                  -- later than this it was abandoned: its runner is gone
  ended_at   timestamptz,
  result     text check (result in ('heard', 'wrong', 'unwritten', 'unclaimed', 'unheard', 'unrecognised', 'unpublished', 'unfinished', 'abandoned', 'failed')),
  says       text not null default '',              -- one sentence
  -- seconds since it began; null: it did not come to that
  written_s  double precision,                      -- there is a playlist in S3
  claimed_s  double precision,                      -- some worker has the stream
  heard_s    double precision,                      -- its sound is on record as heard
  hit_s      double precision,                      -- its hit is in S3
  ended_s    double precision,                      -- and closed
  latency_s  double precision,                      -- from the recording's first sample on air to the hit in S3
  score_nats double precision,                      -- evidence of the hit as it was closed
  check ((ended_at is null) = (result is null))
);
create unique index canary_round_under_way on canary_round ((true)) where ended_at is null;
create index canary_round_began on canary_round (began_at);
-- What rounds left behind is looked for before each, among all sessions of a year.
create index stream_canary on stream (stream_id) where starts_with(stream_id, 'canary:');

-- Its hits alert nobody, not even where a worker that does not know canaries yet has heard one: what it would send waits until
-- the round is over, and goes with it.
create function canary_alerts_nobody() returns trigger language plpgsql as $$
begin
  new.due_at := '9999-01-01Z';
  return new;
end $$;
create trigger canary_alerts_nobody before insert on outbox
  for each row when (new.target = 'sns' and starts_with(new.stream_id, 'canary:')) execute function canary_alerts_nobody();
