-- What people look at: read-only views for dashboards, and a record of who took which stream over and of when a version came.
-- oldest-daemon: 6
--
-- Views are made of what is on record already, hold no secret (no address with what gives the right to hear it, no token), and
-- have the unit in the name of each number. They name no table of the catalogue: those change places with others when the
-- fingerprint does, and a view would go with them.

-- One folder or file name for any stream id, as hits.record.safe_name makes it: [A-Za-z0-9._~-], and the id itself where that is
-- so already. Dashboards ask by it: an id may hold quotes, or what a dashboard takes for a macro; this never does.
create function earmark_safe_name(name text) returns text language sql immutable strict parallel safe as $$
  select case when name ~ '^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$' then name
              else btrim(regexp_replace(left(name, 64), '[^A-Za-z0-9_-]+', '-', 'g'), '-') || '~'
                   || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 10) end
$$;

-- A sentence without what gives the right to hear, or to connect: queries and users of addresses, and whatever is called a password or a token.
create function earmark_without_secrets(said text) returns text language sql immutable strict parallel safe as $$
  select regexp_replace(regexp_replace(regexp_replace(said,
           '([a-z][a-z0-9+.-]*://)[^/\s@]+@', '\1**********@', 'gi'),
           '(/[^\s?]*)\?\S+', '\1?**********', 'g'),
           '(password|passwd|token|secret|signature)(["'']?\s*[=:]\s*)[^\s&,;]+', '\1\2**********', 'gi')
$$;

-- The wall clock of a session's position; null where there is none, or none that can be read: one odd row is no reason to show none.
create function earmark_clock(clock text) returns timestamptz language sql stable parallel safe as $$
  select case when clock ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d' then clock::timestamptz end
$$;

-- ---------------------------------------------------------------------------------------------- what changed hands, and when

create table fleet_event (
  event_no      bigint generated always as identity primary key,
  at            timestamptz not null default now(),
  kind          text not null check (kind in ('claimed', 'takeover', 'handover', 'restart', 'quarantine', 'deploy')),
  stream_id     text references stream on delete cascade,   -- null: a deploy
  worker        text not null default '',                   -- who has it now, or came first
  worker_before text not null default '',                   -- whose lease it was; empty: nobody's, so the worker of the event before
  version       text not null default ''                    -- of a deploy
);
create index fleet_event_at     on fleet_event (at);
create index fleet_event_stream on fleet_event (stream_id, event_no) where stream_id is not null;
create index fleet_event_deploy on fleet_event (event_no) where kind = 'deploy';

-- Kept are the newest hundred thousand, some 30 MB: each thousandth lets go of what is older, and waits for nobody who does the same.
create function fleet_event_bounded() returns trigger language plpgsql as $$
begin
  delete from fleet_event where event_no in (select event_no from fleet_event where event_no <= new.event_no - 100000 for update skip locked);
  return null;
end $$;
create trigger fleet_event_bounded after insert on fleet_event for each row when (new.event_no % 1000 = 0) execute function fleet_event_bounded();

-- Only statements that set these columns ask: claims and failures do, positions and renewals do not.
create function stream_changed_hands() returns trigger language plpgsql as $$
begin
  insert into fleet_event (kind, stream_id, worker, worker_before)
  values (case when new.fencing = old.fencing then 'quarantine' when old.fencing = 0 then 'claimed'
               when old.owner is not null then 'takeover' when old.failures > 0 then 'restart' else 'handover' end,
          new.stream_id, coalesce(new.owner, ''), coalesce(old.owner, ''));
  return null;
end $$;
create trigger stream_changed_hands after update of fencing, state on stream for each row
  when (new.fencing > old.fencing or (new.state = 'quarantined' and old.state <> 'quarantined')) execute function stream_changed_hands();

-- A deploy is a version's first worker: nobody of that version is there, and the last one to come was another.
alter table worker add column version text not null default '';   -- empty: of a daemon that does not say
create function worker_came() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtext('earmark.fleet_event.deploy'));   -- of two that come at once one is the first
  if not exists (select from worker where version = new.version and worker <> new.worker and seen_at > now() - interval '1 minute')
     and new.version is distinct from (select version from fleet_event where kind = 'deploy' order by event_no desc limit 1) then
    insert into fleet_event (kind, worker, version) values ('deploy', new.worker, new.version);
  end if;
  return null;
end $$;
create trigger worker_came after insert on worker for each row when (new.version <> '') execute function worker_came();

-- ---------------------------------------------------------------------------------------------- the views

-- What dashboards ask by: a stream's safe name, what is not over, whatever the history's length, and when a play was told.
create index stream_safe_name on stream (earmark_safe_name(stream_id));
create index stream_present   on stream (stream_id) where state <> 'ended';
create index play_opened      on play (opened_at);

create view earmark_v_plays as
select p.hit_id, p.stream_id, earmark_safe_name(s.stream_id) as stream_key, s.channel_name, s.source, starts_with(p.stream_id, 'canary:') as canary,
       p.state, p.revision, p.track_id, p.body #>> '{track,title}' as title,
       (select string_agg(artist, ', ') from jsonb_array_elements_text(p.body #> '{track,artists}') artist) as artists,
       coalesce(nullif(concat_ws(' – ', (select string_agg(artist, ', ') from jsonb_array_elements_text(p.body #> '{track,artists}') artist),
                                 nullif(p.body #>> '{track,title}', '')), ''), p.track_id) as called,
       p.body #>> '{track,rights_holder}' as rights_holder,
       coalesce((p.body ->> 'started_at')::timestamptz, p.opened_at) as began_at,
       coalesce((p.body ->> 'started_at')::timestamptz, p.opened_at) + make_interval(secs => greatest(p.end_s - p.begin_s, 0)) as ended_at,
       p.begin_s, p.end_s, p.end_s - p.begin_s as length_s, (p.body #>> '{coverage,matched_s}')::float8 as matched_s,
       (p.body #>> '{score,evidence_nats}')::float8 as evidence_nats, (p.body #>> '{score,false_alarms_per_hour}')::float8 as false_alarms_per_hour,
       (p.body #>> '{transform,speed}')::float8 as speed_ratio, (p.body #>> '{transform,pitch_cents}')::float8 as pitch_cents,
       case when abs((p.body #>> '{transform,speed}')::float8 - 1) < 0.004 then
              case when abs((p.body #>> '{transform,pitch_cents}')::float8) < 15 then 'as recorded' else 'other pitch' end
            when abs((p.body #>> '{transform,pitch_cents}')::float8) < 15 then 'other speed, same pitch'
            else 'other speed' end as transform,
       (p.body #>> '{detection,latency_s}')::float8 as latency_s, p.body #>> '{detection,clock}' as clock,
       (p.body #>> '{detection,first_heard_at}')::timestamptz as first_heard_at, p.opened_at, p.updated_at,
       p.body #>> '{policy,action}' as action, (p.body #>> '{policy,dry_run}')::boolean as dry_run, p.body #>> '{policy,reason}' as policy_reason,
       (p.body ->> 'quotation')::boolean as quotation, p.body #>> '{detection,worker}' as worker, p.body #>> '{stream,trace_id}' as trace_id,
       split_part(p.body #>> '{links,hit}', '/', 3) as s3_bucket, regexp_replace(p.body #>> '{links,hit}', '^s3://[^/]*/', '') as s3_key
  from play p join stream s using (stream_id);

-- A checkpoint of very many gaps is large, and is unpacked for each mention of it: so what is wanted of it is taken out once.
create view earmark_v_streams as
select s.stream_id, earmark_safe_name(s.stream_id) as stream_key, s.source, s.channel_name, s.channel_arn, starts_with(s.stream_id, 'canary:') as canary,
       s.background as in_background, s.state, s.owner as worker, s.created_at as known_at, s.started_at, s.ended_at, s.end_reason,
       s.claimed_at, s.fencing as claims, s.attempts, s.failures,
       case when s.state in ('wanted', 'running') and s.wanted_at is not null and s.not_before <= now() and (s.owner is null or s.lease_until < now())
            then extract(epoch from now() - greatest(s.wanted_at, s.not_before, s.lease_until))::float8 end as unowned_s,
       s.heard_at, case when s.state = 'running' then extract(epoch from now() - coalesce(s.heard_at, s.claimed_at))::float8 end as silent_s,
       extract(epoch from s.heard_at - earmark_clock(c.clock))::float8 as lag_s, c.clock_source as clock,
       c.position_s, c.heard_s, c.position_s - c.heard_s as missed_s, c.heard_s / nullif(c.position_s, 0) as heard_ratio,
       case when jsonb_typeof(c.music -> 'heard_s') = 'number' then (c.music ->> 'heard_s')::float8 end as music_s,
       case when s.state <> 'ended' then c.plays #>> '{-1,hit_id}' end as playing_hit_id,
       case when s.state <> 'ended' then coalesce((select p.called from earmark_v_plays p where p.hit_id = c.plays #>> '{-1,hit_id}'),
                                                  c.plays #>> '{-1,track_id}') end as playing,
       (select count(*) from play p where p.stream_id = s.stream_id) as plays,
       earmark_without_secrets(coalesce(nullif(s.last_error, ''), c.last_error, '')) as last_error,
       c.rendition, case when jsonb_typeof(c.fetched_bytes) = 'number' then c.fetched_bytes::float8 end as fetched_bytes, s.parent as parent_stream_id,
       to_jsonb(s) ->> 'trace_id' as trace_id,   -- so, since the column comes with a later migration
       (select p.s3_bucket from earmark_v_plays p where not p.canary and p.s3_key <> '' order by p.opened_at desc limit 1) as s3_bucket,
       case when not starts_with(s.stream_id, 'canary:') then   -- where results lie, as the newest hit has it
         (select regexp_replace(p.s3_key, '[^/]*/hits/[^/]*$', '') from earmark_v_plays p where not p.canary and p.s3_key <> '' order by p.opened_at desc limit 1)
         || earmark_safe_name(s.stream_id) || '/' end as s3_prefix
  from stream s
  left join lateral jsonb_to_record(s.checkpoint) as c (clock text, clock_source text, position_s float8, heard_s float8, music jsonb, plays jsonb,
                                                        last_error text, rendition text, fetched_bytes jsonb) on true;

create view earmark_v_coverage as
select s.stream_id, earmark_safe_name(s.stream_id) as stream_key, l.reason = 'heard' as heard, l.reason, l.begin_s, l.end_s, l.end_s - l.begin_s as length_s,
       c.clock - make_interval(secs => c.position_s - l.begin_s) as began_at, c.clock - make_interval(secs => c.position_s - l.end_s) as ended_at
  from stream s
 cross join lateral (
    select earmark_clock(s.checkpoint ->> 'clock') as clock, (s.checkpoint ->> 'position_s')::float8 as position_s,
           coalesce(s.checkpoint -> 'gaps', '[]') as gaps offset 0) c
 cross join lateral (
    with gap as materialized (
      select begin_s, end_s, reason from jsonb_to_recordset(c.gaps) as g (begin_s float8, end_s float8, reason text)
    ), edge as (
      select begin_s, end_s from gap union all select c.position_s, null)
    select begin_s, end_s, reason from gap
    union all
    select coalesce(lag(end_s) over (order by begin_s), 0), begin_s, 'heard' from edge) l
 where l.end_s - l.begin_s > 0.0005;

create view earmark_v_music as
select s.stream_id, earmark_safe_name(s.stream_id) as stream_key, m.begin_s, m.end_s, m.end_s - m.begin_s as length_s,
       c.clock - make_interval(secs => c.position_s - m.begin_s) as began_at, c.clock - make_interval(secs => c.position_s - m.end_s) as ended_at
  from stream s
 cross join lateral (
    select earmark_clock(s.checkpoint ->> 'clock') as clock, (s.checkpoint ->> 'position_s')::float8 as position_s,
           s.checkpoint #> '{music,stretches}' as music offset 0) c
 cross join lateral jsonb_to_recordset(case when jsonb_typeof(c.music) = 'array' then c.music else '[]' end) as m (begin_s float8, end_s float8);

create view earmark_v_lag as
select s.stream_id, earmark_safe_name(s.stream_id) as stream_key, l.at, l.lag_s, l.measured
  from stream s cross join lateral (
    select b.kept_at as at, extract(epoch from b.kept_at - b.begin_at)::float8 - b.frames * 0.032 as lag_s, 'kept' as measured
      from kept_block b where b.stream_id = s.stream_id and b.begin_at is not null
    union all
    select p.opened_at, extract(epoch from p.opened_at - (p.body #>> '{detection,first_heard_at}')::timestamptz)::float8, 'hit'
      from play p where p.stream_id = s.stream_id and p.body #>> '{detection,first_heard_at}' is not null
    union all
    select s.heard_at, extract(epoch from s.heard_at - earmark_clock(s.checkpoint ->> 'clock'))::float8, 'now'
     where earmark_clock(s.checkpoint ->> 'clock') is not null) l
 where l.lag_s < 3600;   -- what is heard of a recording hours later, in place of a gap, is kept as well

create view earmark_v_events as
select e.at, e.kind, e.stream_id, earmark_safe_name(e.stream_id) as stream_key, e.worker, b.worker as worker_before, e.version,
       coalesce(starts_with(e.stream_id, 'canary:'), false) as canary,
       case e.kind when 'deploy' then 'version ' || e.version || ': first worker ' || e.worker
                   when 'claimed' then 'claimed by ' || e.worker
                   when 'quarantine' then 'put into quarantine'
                   else e.kind || ': ' || e.worker || coalesce(' after ' || nullif(b.worker, ''), '') end as said
  from fleet_event e cross join lateral (
    select coalesce(nullif(e.worker_before, ''),
                    (select worker from fleet_event b where b.stream_id = e.stream_id and b.event_no < e.event_no order by b.event_no desc limit 1), '') as worker) b
union all
select p.opened_at, 'hit', p.stream_id, earmark_safe_name(p.stream_id), p.worker, '', '', p.canary, p.called || ': ' || p.action from earmark_v_plays p
union all
select s.ended_at, 'ended', s.stream_id, earmark_safe_name(s.stream_id), '', '', '', starts_with(s.stream_id, 'canary:'), 'ended: ' || coalesce(s.end_reason, '')
  from stream s where s.state = 'ended';

-- What each of them says, for whoever asks with \d+.
do $$
declare of record;
begin
  for of in select * from (values
    ('earmark_v_streams', null, 'A row a stream, over or not: who listens, how far it is, how much of it was heard, what plays, what went wrong last.'),
    ('earmark_v_streams', 'stream_id', 'as AWS or the settings have it'),
    ('earmark_v_streams', 'stream_key', 'the same as one file name: what dashboards and links ask by, and the folder of its results'),
    ('earmark_v_streams', 'source', 'ivs, medialive, hls, radio, file or recording'),
    ('earmark_v_streams', 'channel_name', 'of the channel, or the stream''s name in the settings'),
    ('earmark_v_streams', 'channel_arn', 'IVS and MediaLive: of the channel'),
    ('earmark_v_streams', 'canary', 'it is a test of the whole path, not somebody''s stream'),
    ('earmark_v_streams', 'in_background', 'a file or a recording, which has no hurry'),
    ('earmark_v_streams', 'state', 'wanted, running, ended or quarantined'),
    ('earmark_v_streams', 'worker', 'who listens; null: nobody'),
    ('earmark_v_streams', 'known_at', 'when it was first heard of'),
    ('earmark_v_streams', 'started_at', 'its start, by the source''s own word'),
    ('earmark_v_streams', 'ended_at', 'when its session was over'),
    ('earmark_v_streams', 'end_reason', 'why: stream_end, endlist, not_live, silent_origin, cut, failed'),
    ('earmark_v_streams', 'claimed_at', 'when its present or last worker took it'),
    ('earmark_v_streams', 'claims', 'how often a worker took it; 1: it never changed hands'),
    ('earmark_v_streams', 'attempts', 'claims without a clean hand-over since it last survived ten minutes'),
    ('earmark_v_streams', 'failures', 'runs that failed since then'),
    ('earmark_v_streams', 'unowned_s', 'seconds for which it is wanted and nobody listens; null: somebody does, or nobody has to'),
    ('earmark_v_streams', 'heard_at', 'when its position was last put on record'),
    ('earmark_v_streams', 'silent_s', 'of a running one: seconds since then'),
    ('earmark_v_streams', 'lag_s', 'seconds from the wall clock of its last sample to that being on record; by the source''s clock, or by arrival: see clock'),
    ('earmark_v_streams', 'clock', 'program_date_time (the source''s own) or arrival'),
    ('earmark_v_streams', 'position_s', 'seconds of media that are accounted for'),
    ('earmark_v_streams', 'heard_s', 'of those, heard'),
    ('earmark_v_streams', 'missed_s', 'of those, not heard'),
    ('earmark_v_streams', 'heard_ratio', 'heard over accounted for, 0 to 1'),
    ('earmark_v_streams', 'music_s', 'seconds heard that sounded like music'),
    ('earmark_v_streams', 'playing_hit_id', 'the play that is on now; of several the one that began last'),
    ('earmark_v_streams', 'playing', 'its artists and title'),
    ('earmark_v_streams', 'plays', 'plays on record'),
    ('earmark_v_streams', 'last_error', 'the last thing that went wrong, without what gives the right to hear it'),
    ('earmark_v_streams', 'rendition', 'what was chosen among the renditions'),
    ('earmark_v_streams', 'fetched_bytes', 'bytes that came from its origin'),
    ('earmark_v_streams', 'parent_stream_id', 'the stream whose gaps this session hears from its recording'),
    ('earmark_v_streams', 'trace_id', 'found in every log line and message of it'),
    ('earmark_v_streams', 's3_bucket', 'of the results; null before any hit was published'),
    ('earmark_v_streams', 's3_prefix', 'of its results in that bucket'),
    ('earmark_v_plays', null, 'A row a play, which is a hit: which recording, from when to when, how sure, how soon, what its owner wants done.'),
    ('earmark_v_plays', 'hit_id', 'of the hit'),
    ('earmark_v_plays', 'stream_id', 'where it was heard'),
    ('earmark_v_plays', 'stream_key', 'the stream''s safe name'),
    ('earmark_v_plays', 'channel_name', 'of the stream'),
    ('earmark_v_plays', 'source', 'of the stream'),
    ('earmark_v_plays', 'canary', 'of a test of the whole path: nobody is told'),
    ('earmark_v_plays', 'state', 'provisional, open or closed'),
    ('earmark_v_plays', 'revision', 'how often it was told anew'),
    ('earmark_v_plays', 'track_id', 'of the recording'),
    ('earmark_v_plays', 'title', 'of the recording'),
    ('earmark_v_plays', 'artists', 'of the recording, in one line'),
    ('earmark_v_plays', 'called', 'artists and title, or the track_id where there is neither'),
    ('earmark_v_plays', 'rights_holder', 'of the recording'),
    ('earmark_v_plays', 'began_at', 'its first second, by the stream''s clock; without one, when it was told'),
    ('earmark_v_plays', 'ended_at', 'its last second so far, from the same clock'),
    ('earmark_v_plays', 'begin_s', 'its first second, in stream time'),
    ('earmark_v_plays', 'end_s', 'its last second so far, in stream time'),
    ('earmark_v_plays', 'length_s', 'seconds between the two'),
    ('earmark_v_plays', 'matched_s', 'seconds of it with aligned evidence'),
    ('earmark_v_plays', 'evidence_nats', 'by which its best window beats chance, in nats'),
    ('earmark_v_plays', 'false_alarms_per_hour', 'false alarms in an hour of one stream at that evidence, for the catalogue of then'),
    ('earmark_v_plays', 'speed_ratio', 'reference seconds for a stream second: 1.03 is played 3 % fast'),
    ('earmark_v_plays', 'pitch_cents', 'stream pitch over reference pitch, in cents, speed included'),
    ('earmark_v_plays', 'transform', 'as recorded; other speed; other speed, same pitch; other pitch'),
    ('earmark_v_plays', 'latency_s', 'seconds from its first second, by the stream''s clock, to its being put on record; null without a clock'),
    ('earmark_v_plays', 'clock', 'program_date_time or arrival'),
    ('earmark_v_plays', 'first_heard_at', 'the wall clock of the second at which it was sure enough to be told'),
    ('earmark_v_plays', 'opened_at', 'when it was first put on record'),
    ('earmark_v_plays', 'updated_at', 'when it was last told anew'),
    ('earmark_v_plays', 'action', 'what its owner wants done'),
    ('earmark_v_plays', 'dry_run', 'that is only said: nothing was done'),
    ('earmark_v_plays', 'policy_reason', 'why that action'),
    ('earmark_v_plays', 'quotation', 'it ended too soon to be more than a quoted sample'),
    ('earmark_v_plays', 'worker', 'who heard it'),
    ('earmark_v_plays', 'trace_id', 'found in every log line of its stream'),
    ('earmark_v_plays', 's3_bucket', 'where the hit lies'),
    ('earmark_v_plays', 's3_key', 'its object there'),
    ('earmark_v_coverage', null, 'Every media second of a stream once: a row a stretch, heard or a gap with its reason. Lengths add up to the position.'),
    ('earmark_v_coverage', 'stream_id', 'of the stream'),
    ('earmark_v_coverage', 'stream_key', 'the stream''s safe name'),
    ('earmark_v_coverage', 'heard', 'or a gap'),
    ('earmark_v_coverage', 'reason', 'heard, or why not: a GapReason as in stream.json'),
    ('earmark_v_coverage', 'begin_s', 'in stream time'),
    ('earmark_v_coverage', 'end_s', 'in stream time'),
    ('earmark_v_coverage', 'length_s', 'seconds'),
    ('earmark_v_coverage', 'began_at', 'by the stream''s clock'),
    ('earmark_v_coverage', 'ended_at', 'by the stream''s clock'),
    ('earmark_v_music', null, 'Where a stream sounded like music, catalogued or not; what is between was heard and is speech, sound or silence, or is a gap.'),
    ('earmark_v_music', 'stream_id', 'of the stream'),
    ('earmark_v_music', 'stream_key', 'the stream''s safe name'),
    ('earmark_v_music', 'begin_s', 'in stream time'),
    ('earmark_v_music', 'end_s', 'in stream time'),
    ('earmark_v_music', 'length_s', 'seconds'),
    ('earmark_v_music', 'began_at', 'by the stream''s clock'),
    ('earmark_v_music', 'ended_at', 'by the stream''s clock'),
    ('earmark_v_lag', null, 'How far a stream was behind its own clock, each time that something of it went on record with its clock: every 262 s, at each hit, and now.'),
    ('earmark_v_lag', 'stream_id', 'of the stream'),
    ('earmark_v_lag', 'stream_key', 'the stream''s safe name'),
    ('earmark_v_lag', 'at', 'when it was put on record'),
    ('earmark_v_lag', 'lag_s', 'seconds since the wall clock of the last sample in it'),
    ('earmark_v_lag', 'measured', 'by what: kept (262 s of peaks), hit, now'),
    ('earmark_v_events', null, 'What happened, and when: who took which stream, first workers of a version, hits, ends.'),
    ('earmark_v_events', 'at', 'when'),
    ('earmark_v_events', 'kind', 'claimed, takeover (its worker had not renewed its lease), handover, restart, quarantine, deploy, hit or ended'),
    ('earmark_v_events', 'stream_id', 'null: a deploy'),
    ('earmark_v_events', 'stream_key', 'the stream''s safe name'),
    ('earmark_v_events', 'worker', 'who has it now, heard it, or came first'),
    ('earmark_v_events', 'worker_before', 'who had it'),
    ('earmark_v_events', 'version', 'of a deploy'),
    ('earmark_v_events', 'canary', 'of a test of the whole path'),
    ('earmark_v_events', 'said', 'the same in words')) c (view, col, says)
  loop
    if of.col is null then
      execute format('comment on view %I is %L', of.view, of.says);
    else
      execute format('comment on column %I.%I is %L', of.view, of.col, of.says);
    end if;
  end loop;
end $$;
