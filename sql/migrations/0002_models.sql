-- What each model's relation was made of: a build leaves alone what it would make the same again.
create table build.models (
    name varchar not null,
    sql_hash varchar not null
);
