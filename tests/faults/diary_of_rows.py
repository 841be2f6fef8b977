"""What a run's database is made to remember: every commit, claim, play and outbox row, with the connection that wrote it.

Triggers write it down in the very transaction, so that nothing is noted that was not committed. Which worker wrote is told
by its connection's `application_name`, not by what it claims in the row: a worker that was paused claims what it believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

_SCHEMA = """
create schema faults;
create table faults.stream_seen (
  place bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(), writer text not null,
  what text not null, stream_id text not null, owner text, old_owner text, old_lease_until timestamptz, fencing bigint not null, state text not null,
  position_s float8, heard_s float8, gap_s float8, clock timestamptz);
create table faults.play_seen (
  place bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(), writer text not null,
  stream_id text not null, hit_id text not null, track_id text not null, revision int not null, state text not null,
  begin_s float8 not null, end_s float8 not null, fencing bigint not null, stream_fencing bigint not null, owner text);
create table faults.outbox_seen (
  place bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(), writer text not null,
  stream_id text not null, target text not null, key text not null, revision bigint not null, digest text not null, body text not null);

create function faults.writer() returns text language sql stable as $$ select current_setting('application_name') $$;

create function faults.see_stream() returns trigger language plpgsql as $$
declare
  told text[] := '{}';
  gaps jsonb := coalesce(new.checkpoint->'gaps', '[]');
begin
  if tg_op = 'INSERT' then told := array['wanted'];
  else
    if new.fencing <> old.fencing then told := told || 'claim'::text; end if;
    if new.checkpoint is distinct from old.checkpoint then told := told || 'commit'::text; end if;
    if old.owner is not null and new.owner is null then told := told || 'release'::text; end if;
    if new.state <> old.state and new.state in ('ended', 'quarantined') then told := told || new.state; end if;
  end if;
  for i in 1 .. coalesce(array_length(told, 1), 0) loop
    insert into faults.stream_seen
      (writer, what, stream_id, owner, old_owner, old_lease_until, fencing, state, position_s, heard_s, gap_s, clock)
    values (faults.writer(), told[i], new.stream_id, new.owner, case when tg_op = 'UPDATE' then old.owner end,
            case when tg_op = 'UPDATE' then old.lease_until end, new.fencing, new.state,
            coalesce((new.checkpoint->>'position_s')::float8, 0), coalesce((new.checkpoint->>'heard_s')::float8, 0),
            (select coalesce(sum((gap->>'end_s')::float8 - (gap->>'begin_s')::float8), 0) from jsonb_array_elements(gaps) as gap),
            (new.checkpoint->>'clock')::timestamptz);
  end loop;
  return null;
end $$;

create function faults.see_play() returns trigger language plpgsql as $$
begin
  insert into faults.play_seen (writer, stream_id, hit_id, track_id, revision, state, begin_s, end_s, fencing, stream_fencing, owner)
  select faults.writer(), new.stream_id, new.hit_id, new.track_id, new.revision, new.state, new.begin_s, new.end_s, new.fencing, s.fencing, s.owner
    from stream s where s.stream_id = new.stream_id;
  return null;
end $$;

create function faults.see_outbox() returns trigger language plpgsql as $$
begin
  insert into faults.outbox_seen (writer, stream_id, target, key, revision, digest, body)
  values (faults.writer(), new.stream_id, new.target, new.key, new.revision, encode(sha256(convert_to(new.body, 'UTF8')), 'hex'),
          case when new.target = 'sns' then new.body else '' end);
  return null;
end $$;

create trigger faults_stream after insert or update on stream for each row execute function faults.see_stream();
create trigger faults_play after insert or update on play for each row execute function faults.see_play();
create trigger faults_outbox_new after insert on outbox for each row execute function faults.see_outbox();
create trigger faults_outbox_body after update of body, revision on outbox for each row
  when ((new.body, new.revision) is distinct from (old.body, old.revision)) execute function faults.see_outbox();
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSeen:
    place: int
    at: datetime
    writer: str
    #: `wanted`, `claim`, `commit`, `release`, `ended`, `quarantined`.
    what: str
    stream_id: str
    #: After it.
    owner: str | None
    fencing: int
    state: str
    old_owner: str | None = None
    old_lease_until: datetime | None = None
    position_s: float = 0.0
    heard_s: float = 0.0
    gap_s: float = 0.0
    clock: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaySeen:
    place: int
    at: datetime
    writer: str
    stream_id: str
    hit_id: str
    track_id: str
    revision: int
    state: str
    begin_s: float
    end_s: float
    #: As the writer had it, and as the stream's row has it.
    fencing: int
    stream_fencing: int
    owner: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxSeen:
    place: int
    at: datetime
    writer: str
    stream_id: str
    target: str
    key: str
    revision: int
    digest: str
    #: Of messages.
    body: str = ""


def install(dsn: str) -> None:
    """Into a migrated database, before the first worker."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_SCHEMA.encode())


def read(dsn: str, kind: type[Any]) -> list[Any]:
    """What was seen, in its order: of `StreamSeen`, `PlaySeen` or `OutboxSeen`."""
    table = {StreamSeen: "stream_seen", PlaySeen: "play_seen", OutboxSeen: "outbox_seen"}[kind]
    columns: Sequence[str] = kind.__slots__
    with psycopg.connect(dsn, autocommit=True, row_factory=class_row(kind)) as connection:
        return connection.execute(f"select {', '.join(columns)} from faults.{table} order by place".encode()).fetchall()
