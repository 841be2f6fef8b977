-- Words of the catalogue's own for groups of recordings: "cleared for news". Rules of the policy file can name them.
-- oldest-daemon: 6

alter table track add column tags text[] not null default '{}';
