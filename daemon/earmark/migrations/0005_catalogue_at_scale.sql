-- A catalogue that grows to a hundred thousand recordings and more: cheap additions, merges in small steps, a stop list.
-- oldest-daemon: 5
--
-- New recordings' postings are kept packed, a row a doc (`fresh`), and readers hold them in memory until they are in a
-- run; `recent`, a row a posting, is given up. Runs are merged a range of hashes at a time, each range in a transaction
-- of its own: in between, a run that is being merged has the upper hashes still, and its successor the lower ones.

create table fresh (                              -- the postings of docs that are not packed
  doc_id   int primary key,
  digest   int   not null,                        -- the first four bytes of the SHA-256 of:
  postings bytea not null                         -- int4 hash, int2 frame each, big-endian, in that order
);
alter table fresh alter postings set storage external;

create table merge (                              -- a merge under way, one a span at most
  run_id     int primary key,                     -- the run that is being written
  source_ids int[] not null,
  next_hash  bigint not null default 0,           -- what lies below has been moved
  stop_above int not null,                        -- hashes with more postings in these runs are put on the stop list
  unvacuumed bigint not null default 0            -- postings moved since dead rows were last given back
);

create table stop_list (                          -- hashes that are in too many recordings to tell any: nobody asks for them
  part        int2 primary key,                   -- hash >> 24
  hashes      bytea not null,                     -- int4 each, big-endian, ascending
  changed_xid xid8 not null default pg_current_xact_id()
);

create table slow_look_up (                       -- of each worker and hour the look-up that took longest, for `earmark db status`
  worker   text not null,
  hour     timestamptz not null,
  at       timestamptz not null,
  seconds  real not null,
  hashes   int not null,
  postings int not null,
  primary key (worker, hour)
);

alter table run add column kind text not null default 'merge' check (kind in ('bulk', 'pack', 'merge'));  -- what it was made of

insert into fresh (doc_id, digest, postings)
select doc_id, ('x' || encode(substr(sha256(postings), 1, 4), 'hex'))::bit(32)::int, postings
from (select d.doc_id, coalesce(string_agg(int4send(hash) || int2send(frame), ''::bytea order by hash, frame), '') as postings
      from doc d left join recent r on r.doc_id = d.doc_id where not d.packed and d.retired_at is null group by d.doc_id) packed;
update doc set packed = true, postings = 0 where not packed and retired_at is not null;
drop table recent;

-- In a block, the low bits of a hash are said once, with the number of its postings, and no more beside each posting.
alter table block rename to block_before;
alter index block_pkey rename to block_before_pkey;
create table block (                              -- a piece of a bucket, at most 440 postings: never TOASTed
  run_id  int   not null,
  bucket  int   not null,                         -- hash >> run.low_bits
  part    int2  not null,
  digest  int   not null,                         -- the first four bytes of the SHA-256 of head and posting
  head    bytea not null,                         -- per hash its low bits (u8 if low_bits <= 8, else u16 LE), and how many postings (u8); sorted
  posting bytea not null,                         -- per posting u32 LE: doc_in_span (19) | frame (13)
  primary key (run_id, bucket, part)
) with (toast_tuple_target = 2040, autovacuum_vacuum_insert_threshold = -1);  -- upkeep vacuums; a run is merged soon after it was written
alter table block alter head set storage plain, alter posting set storage plain;

insert into block (run_id, bucket, part, digest, head, posting)
select run_id, bucket, part, ('x' || encode(substr(sha256(head || posting), 1, 4), 'hex'))::bit(32)::int, head, posting
from (select b.run_id, b.bucket, b.part, b.posting, low_bits.head
      from block_before b
      join run r on r.run_id = b.run_id
      cross join lateral (
        select string_agg(case when r.low_bits <= 8 then substr(int4send(low), 4, 1) else substr(int4send(low), 4, 1) || substr(int4send(low), 3, 1) end
                          || substr(int4send(count), 4, 1), ''::bytea order by low, chunk) as head
        from (select low, chunk, count(*)::int as count
              from (select low, (row_number() over (partition by low) - 1) / 255 as chunk
                    from (select case when r.low_bits <= 8 then get_byte(b.low, n)
                                      else get_byte(b.low, 2 * n) + 256 * get_byte(b.low, 2 * n + 1) end as low
                          from generate_series(0, length(b.posting) / 4 - 1) n) each) numbered
              group by low, chunk) counted) low_bits) packed;
drop table block_before;
