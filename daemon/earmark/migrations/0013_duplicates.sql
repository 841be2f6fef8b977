-- How the recordings of each pair lie on one another, and which of them is another's alias.
-- oldest-daemon: 6
--
-- A daemon that does not know of aliases hears none that has no postings, and tells the others under their own ids.

alter table track add column aligned_no int;   -- the track_no under which it was laid over the others; another one, or null: not yet
create index track_isrc on track using gin (isrc);

create table overlap (                         -- a row a pair, as the one with the lower number sees it
  one_no        int not null references track on delete cascade,   -- replaced ones are forgotten before they get another number
  other_no      int not null references track on delete cascade,
  kind          text not null check (kind in ('same', 'excerpt', 'passage')),
  speed         double precision not null,     -- seconds of the other for one of the one
  one_share     real not null,                 -- of its sound, what is in the other
  other_share   real not null,
  one_rest_s    real not null,                 -- the longest stretch of its sound that is not
  other_rest_s  real not null,
  evidence_nats real not null,
  spans         real[] not null,               -- four each: begin and end in the one, begin and end in the other, in seconds
  primary key (one_no, other_no),
  check (one_no < other_no)
);
create index overlap_other on overlap (other_no);

create table track_alias (                     -- a recording that is another one, heard and told as that
  track_no int primary key references track on update cascade on delete cascade,
  of_no    int not null references track on update cascade on delete cascade,   -- never an alias itself
  in_no    int references track on update cascade on delete set null,           -- all of it is in this one, so it has no postings; null: it has its own
  check (track_no <> of_no and track_no <> in_no)
);
create index track_alias_of on track_alias (of_no);
create index track_alias_in on track_alias (in_no);

create table put_aside (                       -- postings of docs that are not looked up as long as their recording is an alias
  doc_id   int primary key references doc on delete cascade,
  digest   int   not null,                     -- as in `fresh`
  postings bytea not null
);
alter table put_aside alter postings set storage external;
