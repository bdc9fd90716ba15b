-- PostGraphile makes a type, queries and mutations of each table.
create table notes (
  id bigint generated always as identity primary key,
  title text not null,
  body text not null default '',
  written_at timestamptz not null default now()
);
comment on table notes is 'Something worth remembering.';
