-- What a collector keeps between the watch and the lake.

create table intake (
    version bigint not null,
    -- Tells the seals of this file from those of one that was lost.
    made_at timestamp not null
);

-- Where each watch goes on: the row of the newest batch counts.
create table positions (
    cluster varchar not null,
    batch bigint not null,
    resource varchar not null,
    version varchar not null,
    through_at timestamp not null
);

-- What the index holds: the row of the newest batch counts, and one without state says that it holds it no more.
create table entries (
    cluster varchar not null,
    batch bigint not null,
    kind varchar not null,
    entry_key varchar not null,
    state varchar
);

-- Batches that went, or are going, into the lake together.
create table seals (
    cluster varchar not null,
    seal bigint not null,
    through_batch bigint not null,
    recorded_date date not null,
    is_done boolean not null
);

create schema facts;
