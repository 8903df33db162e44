-- What clients of PostgreSQL ask of its catalogue (`pg_catalog`, `information_schema`), as tables and macros of a session.
-- Made of the snapshot's description alone: `mart` and `mart_column` are filled before this runs. Columns, meanings and numbers are those of
-- PostgreSQL 15 (https://www.postgresql.org/docs/15/catalogs.html); what there is none of here (indexes, constraints, functions) is empty.
-- Names begin at the start of a line: `catalogue.rs` reads from here what there is.

create table catalogue.pg_namespace as
select *
from (
    values
        (11, 'pg_catalog', 10, null::varchar[]),
        (13, 'information_schema', 10, null),
        (2200, 'marts', 10, null)
) as t(oid, nspname, nspowner, nspacl);

create table catalogue.pg_roles as
select
    10 as oid,
    'podledger' as rolname,
    false as rolsuper,
    true as rolinherit,
    false as rolcreaterole,
    false as rolcreatedb,
    true as rolcanlogin,
    false as rolreplication,
    -1 as rolconnlimit,
    null::varchar as rolpassword,
    null::timestamp as rolvaliduntil,
    false as rolbypassrls,
    null::varchar[] as rolconfig;

create table catalogue.pg_authid as select * from catalogue.pg_roles;
create table catalogue.pg_user as
select rolname as usename, oid as usesysid, false as usecreatedb, false as usesuper, false as userepl, false as usebypassrls, null::varchar as passwd, null::timestamp as valuntil, null::varchar[] as useconfig
from catalogue.pg_roles;
create table catalogue.pg_group as select null::varchar as groname, null::bigint as grosysid, null::bigint[] as grolist where false;

create table catalogue.pg_database as
select
    5 as oid,
    'podledger' as datname,
    10 as datdba,
    6 as encoding,
    'c' as datlocprovider,
    false as datistemplate,
    true as datallowconn,
    -1 as datconnlimit,
    1663 as dattablespace,
    'C' as datcollate,
    'C' as datctype,
    null::varchar as daticulocale,
    null::varchar as datcollversion,
    null::varchar[] as datacl;

create table catalogue.pg_tablespace as
select 1663 as oid, 'pg_default' as spcname, 10 as spcowner, null::varchar[] as spcacl, null::varchar[] as spcoptions;

create table catalogue.pg_am as
select 2 as oid, 'heap' as amname, 0 as amhandler, 't' as amtype;

-- `sql_name` is what `format_type` says, `element` the type of which it is the array.
create table catalogue.pg_type as
with
    scalar as (
        select *
        from (
            values
                (16, 'bool', 'boolean', 1, 'B', 1000),
                (17, 'bytea', 'bytea', -1, 'U', 1001),
                (18, 'char', '"char"', 1, 'Z', 1002),
                (19, 'name', 'name', 64, 'S', 1003),
                (20, 'int8', 'bigint', 8, 'N', 1016),
                (21, 'int2', 'smallint', 2, 'N', 1005),
                (22, 'int2vector', 'int2vector', -1, 'A', 1006),
                (23, 'int4', 'integer', 4, 'N', 1007),
                (24, 'regproc', 'regproc', 4, 'N', 1008),
                (25, 'text', 'text', -1, 'S', 1009),
                (26, 'oid', 'oid', 4, 'N', 1028),
                (30, 'oidvector', 'oidvector', -1, 'A', 1013),
                (114, 'json', 'json', -1, 'U', 199),
                (700, 'float4', 'real', 4, 'N', 1021),
                (701, 'float8', 'double precision', 8, 'N', 1022),
                (705, 'unknown', 'unknown', -2, 'X', 0),
                (1042, 'bpchar', 'character', -1, 'S', 1014),
                (1043, 'varchar', 'character varying', -1, 'S', 1015),
                (1082, 'date', 'date', 4, 'D', 1182),
                (1083, 'time', 'time without time zone', 8, 'D', 1183),
                (1114, 'timestamp', 'timestamp without time zone', 8, 'D', 1115),
                (1184, 'timestamptz', 'timestamp with time zone', 8, 'D', 1185),
                (1186, 'interval', 'interval', 16, 'T', 1187),
                (1266, 'timetz', 'time with time zone', 12, 'D', 1270),
                (1700, 'numeric', 'numeric', -1, 'N', 1231),
                (2205, 'regclass', 'regclass', 4, 'N', 2210),
                (2206, 'regtype', 'regtype', 4, 'N', 2211),
                (2950, 'uuid', 'uuid', 16, 'U', 2951),
                (3802, 'jsonb', 'jsonb', -1, 'U', 3807)
        ) as t(oid, typname, sql_name, typlen, typcategory, typarray)
    ),
    scalar_and_array as (
        select oid, typname, sql_name, typlen, typcategory, typarray, 0 as typelem from scalar
        union all
        select typarray, '_' || typname, sql_name || '[]', -1, 'A', 0, oid from scalar where typarray <> 0
    )
select
    oid,
    typname,
    11 as typnamespace,
    10 as typowner,
    typlen,
    typlen between 1 and 8 as typbyval,
    case when typname = 'unknown' then 'p' else 'b' end as typtype,
    typcategory,
    typname in ('bool', 'float8', 'text', 'timestamptz', 'interval', 'oid') as typispreferred,
    true as typisdefined,
    ',' as typdelim,
    0 as typrelid,
    case when typelem <> 0 then 'array_subscript_handler' else '-' end as typsubscript,
    typelem,
    typarray,
    case when typelem <> 0 then 'array_in' else typname || 'in' end as typinput,
    case when typelem <> 0 then 'array_out' else typname || 'out' end as typoutput,
    case when typelem <> 0 then 'array_recv' else typname || 'recv' end as typreceive,
    case when typelem <> 0 then 'array_send' else typname || 'send' end as typsend,
    '-' as typmodin,
    '-' as typmodout,
    '-' as typanalyze,
    'i' as typalign,
    'p' as typstorage,
    false as typnotnull,
    0 as typbasetype,
    -1 as typtypmod,
    0 as typndims,
    0 as typcollation,
    null::varchar as typdefaultbin,
    null::varchar as typdefault,
    null::varchar[] as typacl,
    sql_name
from scalar_and_array;

-- Columns of marts with their types on the wire (`reports/src/postgres/types.rs`): lists of what has an array type, and JSON for all else that is nested.
create table catalogue.mart_column as
with
    read as (
        select
            mart_oid,
            number,
            name,
            description,
            regexp_replace(kind, '\[\]$', '') as element,
            kind like '%[]' as is_list,
            try_cast(regexp_extract(kind, '^DECIMAL\((\d+)', 1) as integer) as digits,
            try_cast(regexp_extract(kind, '^DECIMAL\(\d+,\s*(\d+)', 1) as integer) as scale
        from catalogue.described
    ),
    typed as (
        select
            *,
            case
                when element like 'DECIMAL%' and element not like '%]' then 1700
                else coalesce(
                    map {
                        'BOOLEAN': 16, 'BLOB': 17, 'TINYINT': 21, 'SMALLINT': 21, 'UTINYINT': 21, 'INTEGER': 23, 'USMALLINT': 23, 'BIGINT': 20, 'UINTEGER': 20, 'HUGEINT': 1700,
                        'UBIGINT': 1700, 'UHUGEINT': 1700, 'FLOAT': 700, 'DOUBLE': 701, 'VARCHAR': 25, 'UUID': 25, 'DATE': 1082, 'TIME': 1083, 'TIMESTAMP': 1114, 'TIMESTAMP_S': 1114,
                        'TIMESTAMP_MS': 1114, 'TIMESTAMP_NS': 1114, 'TIMESTAMP WITH TIME ZONE': 1184, 'INTERVAL': 1186
                    }[element],
                    114
                )
            end as element_oid
        from read
    )
select
    typed.mart_oid,
    typed.number,
    typed.name,
    typed.description,
    case when not typed.is_list or typed.element_oid = 114 then typed.element_oid else types.typarray end as type_oid,
    typed.digits,
    typed.scale
from typed
left join catalogue.pg_type as types on types.oid = typed.element_oid;

create table catalogue.pg_class as
select
    oid,
    name as relname,
    2200 as relnamespace,
    0 as reltype,
    0 as reloftype,
    10 as relowner,
    2 as relam,
    0 as relfilenode,
    0 as reltablespace,
    0 as relpages,
    row_count::float as reltuples,
    0 as relallvisible,
    0 as reltoastrelid,
    false as relhasindex,
    false as relisshared,
    'p' as relpersistence,
    'r' as relkind,
    column_count as relnatts,
    0 as relchecks,
    false as relhasrules,
    false as relhastriggers,
    false as relhassubclass,
    false as relrowsecurity,
    false as relforcerowsecurity,
    true as relispopulated,
    'n' as relreplident,
    false as relispartition,
    0 as relrewrite,
    0 as relfrozenxid,
    0 as relminmxid,
    null::varchar[] as relacl,
    null::varchar[] as reloptions,
    null::varchar as relpartbound,
    1259 as tableoid
from catalogue.mart;

create table catalogue.pg_attribute as
select
    mart_oid as attrelid,
    name as attname,
    type_oid as atttypid,
    -1 as attstattarget,
    types.typlen as attlen,
    number as attnum,
    0 as attndims,
    -1 as attcacheoff,
    -- Of NUMERIC: 65536 * digits + digits after the point + 4 (`numeric.c`, `make_numeric_typmod`).
    case when type_oid = 1700 and digits is not null then 65536 * digits + scale + 4 else -1 end as atttypmod,
    false as attbyval,
    'i' as attalign,
    'p' as attstorage,
    '' as attcompression,
    false as attnotnull,
    false as atthasdef,
    false as atthasmissing,
    '' as attidentity,
    '' as attgenerated,
    false as attisdropped,
    true as attislocal,
    0 as attinhcount,
    0 as attcollation,
    null::varchar[] as attacl,
    null::varchar[] as attoptions,
    null::varchar[] as attfdwoptions,
    null::varchar as attmissingval
from catalogue.mart_column
left join catalogue.pg_type as types on types.oid = type_oid;

create table catalogue.pg_description as
select oid as objoid, 1259 as classoid, 0 as objsubid, description from catalogue.mart where description <> ''
union all
select mart_oid, 1259, number, description from catalogue.mart_column where description <> '';

create table catalogue.pg_settings as
select
    name,
    setting,
    null::varchar as unit,
    'podledger' as category,
    description as short_desc,
    null::varchar as extra_desc,
    'internal' as context,
    'string' as vartype,
    'default' as source,
    null::varchar as min_val,
    null::varchar as max_val,
    null::varchar[] as enumvals,
    setting as boot_val,
    setting as reset_val,
    null::varchar as sourcefile,
    null::integer as sourceline,
    false as pending_restart
from (
    values
        ('client_encoding', 'UTF8', 'Character set of what clients send and get'),
        ('DateStyle', 'ISO, MDY', 'How dates are written'),
        ('default_transaction_isolation', 'repeatable read', 'A transaction sees one snapshot'),
        ('default_transaction_read_only', 'on', 'Nothing can be written'),
        ('integer_datetimes', 'on', 'Instants are whole microseconds'),
        ('IntervalStyle', 'postgres', 'How intervals are written'),
        ('max_identifier_length', '63', 'Longest name'),
        ('max_index_keys', '32', 'Columns of an index'),
        ('search_path', 'marts', 'Where names are looked up'),
        ('server_encoding', 'UTF8', 'Character set of the server'),
        ('server_version', '15.0', 'Version of PostgreSQL whose protocol and catalogue are spoken'),
        ('server_version_num', '150000', 'The same as a number'),
        ('standard_conforming_strings', 'on', 'Backslashes in strings are backslashes'),
        ('TimeZone', 'UTC', 'Instants are told in UTC'),
        ('transaction_isolation', 'repeatable read', 'A transaction sees one snapshot'),
        ('transaction_read_only', 'on', 'Nothing can be written')
) as t(name, setting, description);

-- Of these there are none.
create table catalogue.pg_attrdef (oid bigint, adrelid bigint, adnum integer, adbin varchar);
create table catalogue.pg_auth_members (roleid bigint, member bigint, grantor bigint, admin_option boolean);
create table catalogue.pg_available_extensions (name varchar, default_version varchar, installed_version varchar, comment varchar);
create table catalogue.pg_cast (oid bigint, castsource bigint, casttarget bigint, castfunc bigint, castcontext varchar, castmethod varchar);
create table catalogue.pg_collation (oid bigint, collname varchar, collnamespace bigint, collowner bigint, collprovider varchar, collencoding integer);
create table catalogue.pg_constraint (
    oid bigint, conname varchar, connamespace bigint, contype varchar, condeferrable boolean, condeferred boolean, convalidated boolean, conrelid bigint, contypid bigint, conindid bigint,
    conparentid bigint, confrelid bigint, confupdtype varchar, confdeltype varchar, confmatchtype varchar, conislocal boolean, coninhcount integer, connoinherit boolean, conkey integer[],
    confkey integer[], conbin varchar, tableoid bigint
);
create table catalogue.pg_db_role_setting (setdatabase bigint, setrole bigint, setconfig varchar[]);
create table catalogue.pg_depend (classid bigint, objid bigint, objsubid integer, refclassid bigint, refobjid bigint, refobjsubid integer, deptype varchar);
create table catalogue.pg_enum (oid bigint, enumtypid bigint, enumsortorder float, enumlabel varchar);
create table catalogue.pg_event_trigger (oid bigint, evtname varchar, evtevent varchar, evtowner bigint, evtfoid bigint, evtenabled varchar, evttags varchar[]);
create table catalogue.pg_extension (oid bigint, extname varchar, extowner bigint, extnamespace bigint, extrelocatable boolean, extversion varchar);
create table catalogue.pg_foreign_data_wrapper (oid bigint, fdwname varchar, fdwowner bigint, fdwhandler bigint, fdwvalidator bigint, fdwacl varchar[], fdwoptions varchar[]);
create table catalogue.pg_foreign_server (oid bigint, srvname varchar, srvowner bigint, srvfdw bigint, srvtype varchar, srvversion varchar, srvacl varchar[], srvoptions varchar[]);
create table catalogue.pg_foreign_table (ftrelid bigint, ftserver bigint, ftoptions varchar[]);
create table catalogue.pg_index (
    indexrelid bigint, indrelid bigint, indnatts integer, indnkeyatts integer, indisunique boolean, indnullsnotdistinct boolean, indisprimary boolean, indisexclusion boolean, indimmediate boolean,
    indisclustered boolean, indisvalid boolean, indcheckxmin boolean, indisready boolean, indislive boolean, indisreplident boolean, indkey integer[], indcollation bigint[], indclass bigint[],
    indoption integer[], indexprs varchar, indpred varchar
);
create table catalogue.pg_inherits (inhrelid bigint, inhparent bigint, inhseqno integer, inhdetachpending boolean);
create table catalogue.pg_language (oid bigint, lanname varchar, lanowner bigint, lanispl boolean, lanpltrusted boolean);
create table catalogue.pg_locks (locktype varchar, database bigint, relation bigint, pid integer, mode varchar, granted boolean, transactionid bigint);
create table catalogue.pg_matviews (schemaname varchar, matviewname varchar, matviewowner varchar, tablespace varchar, hasindexes boolean, ispopulated boolean, definition varchar);
create table catalogue.pg_opclass (oid bigint, tableoid bigint, opcmethod bigint, opcname varchar, opcnamespace bigint, opcowner bigint, opcfamily bigint, opcintype bigint, opcdefault boolean, opckeytype bigint);
create table catalogue.pg_operator (oid bigint, tableoid bigint, oprname varchar, oprnamespace bigint, oprowner bigint, oprkind varchar, oprleft bigint, oprright bigint, oprresult bigint, oprcode bigint);
create table catalogue.pg_opfamily (oid bigint, tableoid bigint, opfmethod bigint, opfname varchar, opfnamespace bigint, opfowner bigint);
create table catalogue.pg_partitioned_table (partrelid bigint, partstrat varchar, partnatts integer, partdefid bigint, partattrs integer[]);
create table catalogue.pg_policy (oid bigint, polname varchar, polrelid bigint, polcmd varchar, polpermissive boolean, polroles bigint[], polqual varchar, polwithcheck varchar);
create table catalogue.pg_proc (
    oid bigint, tableoid bigint, proname varchar, pronamespace bigint, proowner bigint, prolang bigint, prokind varchar, prosecdef boolean, proleakproof boolean, proisstrict boolean, proretset boolean, provolatile varchar,
    proparallel varchar, pronargs integer, prorettype bigint, proargtypes bigint[], proallargtypes bigint[], proargmodes varchar[], proargnames varchar[], prosrc varchar, probin varchar, proacl varchar[]
);
create table catalogue.pg_publication (oid bigint, pubname varchar, pubowner bigint, puballtables boolean);
create table catalogue.pg_publication_namespace (oid bigint, pnpubid bigint, pnnspid bigint);
create table catalogue.pg_publication_rel (oid bigint, prpubid bigint, prrelid bigint, prqual varchar, prattrs integer[]);
create table catalogue.pg_range (rngtypid bigint, rngsubtype bigint, rngmultitypid bigint, rngcollation bigint, rngsubopc bigint, rngcanonical bigint, rngsubdiff bigint);
create table catalogue.pg_rewrite (oid bigint, tableoid bigint, rulename varchar, ev_class bigint, ev_type varchar, ev_enabled varchar, is_instead boolean);
create table catalogue.pg_seclabel (objoid bigint, classoid bigint, objsubid integer, provider varchar, label varchar);
create table catalogue.pg_sequence (seqrelid bigint, seqtypid bigint, seqstart bigint, seqincrement bigint, seqmax bigint, seqmin bigint, seqcache bigint, seqcycle boolean);
create table catalogue.pg_sequences (schemaname varchar, sequencename varchar, sequenceowner varchar, last_value bigint);
create table catalogue.pg_shdescription (objoid bigint, classoid bigint, description varchar);
create table catalogue.pg_stat_activity (datid bigint, datname varchar, pid integer, usename varchar, application_name varchar, state varchar, query varchar);
create table catalogue.pg_stat_user_tables (relid bigint, schemaname varchar, relname varchar, n_live_tup bigint);
create table catalogue.pg_statistic_ext (oid bigint, stxrelid bigint, stxname varchar, stxnamespace bigint, stxowner bigint, stxstattarget integer, stxkeys integer[], stxkind varchar[]);
create table catalogue.pg_trigger (oid bigint, tableoid bigint, tgrelid bigint, tgparentid bigint, tgname varchar, tgfoid bigint, tgtype integer, tgenabled varchar, tgisinternal boolean, tgconstraint bigint);
create table catalogue.pg_indexes (schemaname varchar, tablename varchar, indexname varchar, tablespace varchar, indexdef varchar);
create table catalogue.pg_views (schemaname varchar, viewname varchar, viewowner varchar, definition varchar);
create table catalogue.pg_tables as
select 'marts' as schemaname, name as tablename, 'podledger' as tableowner, null::varchar as tablespace, false as hasindexes, false as hasrules, false as hastriggers, false as rowsecurity
from catalogue.mart;

-- The SQL standard's schema.
create table standard.schemata as
select 'podledger' as catalog_name, nspname as schema_name, 'podledger' as schema_owner, null::varchar as default_character_set_catalog, null::varchar as default_character_set_schema, null::varchar as default_character_set_name, null::varchar as sql_path
from catalogue.pg_namespace;
create table standard.tables as
select
    'podledger' as table_catalog,
    'marts' as table_schema,
    name as table_name,
    'BASE TABLE' as table_type,
    null::varchar as self_referencing_column_name,
    null::varchar as reference_generation,
    null::varchar as user_defined_type_catalog,
    null::varchar as user_defined_type_schema,
    null::varchar as user_defined_type_name,
    'NO' as is_insertable_into,
    'NO' as is_typed,
    null::varchar as commit_action
from catalogue.mart;
create table standard.columns as
select
    'podledger' as table_catalog,
    'marts' as table_schema,
    marts.name as table_name,
    columns.name as column_name,
    columns.number as ordinal_position,
    null::varchar as column_default,
    'YES' as is_nullable,
    case when types.typcategory = 'A' then 'ARRAY' else types.sql_name end as data_type,
    null::integer as character_maximum_length,
    null::integer as character_octet_length,
    case types.typname when 'numeric' then columns.digits when 'int2' then 16 when 'int4' then 32 when 'int8' then 64 when 'float4' then 24 when 'float8' then 53 end as numeric_precision,
    case when types.typname = 'numeric' then 10 when types.typcategory = 'N' then 2 end as numeric_precision_radix,
    case when types.typname = 'numeric' then columns.scale when types.typname like 'int%' then 0 end as numeric_scale,
    case when types.typname = 'date' then 0 when types.typcategory = 'D' then 6 end as datetime_precision,
    null::varchar as interval_type,
    null::varchar as collation_name,
    null::varchar as domain_name,
    'podledger' as udt_catalog,
    'pg_catalog' as udt_schema,
    types.typname as udt_name,
    columns.number::varchar as dtd_identifier,
    'NO' as is_self_referencing,
    'NO' as is_identity,
    null::varchar as identity_generation,
    'NEVER' as is_generated,
    null::varchar as generation_expression,
    'NO' as is_updatable
from catalogue.mart_column as columns
inner join catalogue.mart as marts on marts.oid = columns.mart_oid
left join catalogue.pg_type as types on types.oid = columns.type_oid;
create table standard.views (table_catalog varchar, table_schema varchar, table_name varchar, view_definition varchar, check_option varchar, is_updatable varchar);
create table standard.key_column_usage (
    constraint_catalog varchar, constraint_schema varchar, constraint_name varchar, table_catalog varchar, table_schema varchar, table_name varchar, column_name varchar, ordinal_position integer,
    position_in_unique_constraint integer
);
create table standard.table_constraints (
    constraint_catalog varchar, constraint_schema varchar, constraint_name varchar, table_catalog varchar, table_schema varchar, table_name varchar, constraint_type varchar, is_deferrable varchar,
    initially_deferred varchar
);
create table standard.constraint_column_usage (
    table_catalog varchar, table_schema varchar, table_name varchar, column_name varchar, constraint_catalog varchar, constraint_schema varchar, constraint_name varchar
);
create table standard.referential_constraints (
    constraint_catalog varchar, constraint_schema varchar, constraint_name varchar, unique_constraint_catalog varchar, unique_constraint_schema varchar, unique_constraint_name varchar, match_option varchar,
    update_rule varchar, delete_rule varchar
);
create table standard.routines (specific_catalog varchar, specific_schema varchar, specific_name varchar, routine_catalog varchar, routine_schema varchar, routine_name varchar, routine_type varchar, data_type varchar);
create table standard.parameters (specific_catalog varchar, specific_schema varchar, specific_name varchar, ordinal_position integer, parameter_mode varchar, parameter_name varchar, data_type varchar);
create table standard.sequences (sequence_catalog varchar, sequence_schema varchar, sequence_name varchar, data_type varchar);
create table standard.triggers (trigger_catalog varchar, trigger_schema varchar, trigger_name varchar, event_manipulation varchar, event_object_table varchar);
create table standard.table_privileges as
select 'podledger' as grantor, 'podledger' as grantee, 'podledger' as table_catalog, 'marts' as table_schema, name as table_name, 'SELECT' as privilege_type, 'NO' as is_grantable, 'YES' as with_hierarchy
from catalogue.mart;
create table standard.role_table_grants as select * from standard.table_privileges;

-- What macros look up. A macro's argument is put into its query as it was written, so no name in it may be one that a client has: hence two underscores.
create table catalogue.__class as
select oid as __oid, name as __name, byte_count as __bytes from catalogue.mart
union all
select *
from (
    values (1247, 'pg_type', 0), (1249, 'pg_attribute', 0), (1255, 'pg_proc', 0), (1259, 'pg_class', 0), (1262, 'pg_database', 0), (2606, 'pg_constraint', 0), (2615, 'pg_namespace', 0)
) as t(oid, name, byte_count);
create table catalogue.__type as select oid as __oid, typname as __name, sql_name as __sql_name from catalogue.pg_type;
create table catalogue.__namespace as select oid as __oid, nspname as __name from catalogue.pg_namespace;
create table catalogue.__told as select objoid as __oid, objsubid as __part, description as __text from catalogue.pg_description;

-- Functions: the first of several forms has the fewest arguments.
create macro catalogue.__settings() as map {
    'client_encoding': 'UTF8', 'datestyle': 'ISO, MDY', 'default_transaction_isolation': 'repeatable read', 'default_transaction_read_only': 'on', 'integer_datetimes': 'on',
    'intervalstyle': 'postgres', 'max_identifier_length': '63', 'max_index_keys': '32', 'search_path': 'marts', 'server_encoding': 'UTF8', 'server_version': '15.0',
    'server_version_num': '150000', 'standard_conforming_strings': 'on', 'timezone': 'UTC', 'transaction_isolation': 'repeatable read', 'transaction_read_only': 'on'
};
create macro catalogue.version() as 'PostgreSQL 15.0 (podledger)';
create macro catalogue.current_database() as 'podledger';
create macro catalogue.current_catalog() as 'podledger';
create macro catalogue.current_schema() as 'marts';
create macro catalogue.current_schemas(with_implicit) as case when with_implicit then ['pg_catalog', 'marts'] else ['marts'] end;
create macro catalogue.current_user() as 'podledger';
create macro catalogue.session_user() as 'podledger';
create macro catalogue.current_setting(setting_name) as catalogue.__settings()[lower(setting_name)], (setting_name, missing_ok) as catalogue.__settings()[lower(setting_name)];
create macro catalogue.pg_backend_pid() as 0;
create macro catalogue.pg_is_in_recovery() as false;
create macro catalogue.pg_postmaster_start_time() as null::timestamp;
create macro catalogue.pg_encoding_to_char(encoding) as 'UTF8';
create macro catalogue.pg_get_userbyid(role) as 'podledger';
create macro catalogue.pg_my_temp_schema() as 0;
create macro catalogue.pg_is_other_temp_schema(schema_oid) as false;
create macro catalogue.txid_current() as 1;
create macro catalogue.inet_server_addr() as null::varchar;
create macro catalogue.inet_server_port() as null::integer;
create macro catalogue.pg_table_is_visible(table_oid) as true;
create macro catalogue.pg_type_is_visible(type_oid) as true;
create macro catalogue.pg_function_is_visible(function_oid) as true;
create macro catalogue.pg_operator_is_visible(operator_oid) as true;
create macro catalogue.pg_opclass_is_visible(class_oid) as true;
create macro catalogue.pg_opfamily_is_visible(family_oid) as true;
create macro catalogue.pg_collation_is_visible(collation_oid) as true;
create macro catalogue.has_table_privilege(table_name, privilege) as upper(privilege) = 'SELECT', (role, table_name, privilege) as upper(privilege) = 'SELECT';
create macro catalogue.has_any_column_privilege(table_name, privilege) as upper(privilege) = 'SELECT', (role, table_name, privilege) as upper(privilege) = 'SELECT';
create macro catalogue.has_column_privilege(table_name, column_name, privilege) as upper(privilege) = 'SELECT';
create macro catalogue.has_schema_privilege(schema_name, privilege) as upper(privilege) = 'USAGE', (role, schema_name, privilege) as upper(privilege) = 'USAGE';
create macro catalogue.has_database_privilege(database_name, privilege) as upper(privilege) = 'CONNECT', (role, database_name, privilege) as upper(privilege) = 'CONNECT';
create macro catalogue.has_function_privilege(function_name, privilege) as false;
create macro catalogue.pg_has_role(role, privilege) as true, (member, role, privilege) as true;
create macro catalogue.format_type(type_oid, modifier) as (
    select case when __oid = 1700 and modifier >= 4 then 'numeric(' || ((modifier - 4) // 65536) || ',' || ((modifier - 4) % 65536) || ')' else __sql_name end
    from catalogue.__type
    where __oid = type_oid
);
create macro catalogue.obj_description(object_oid) as (select any_value(__text) from catalogue.__told where __oid = object_oid and __part = 0),
    (object_oid, catalogue_name) as (select any_value(__text) from catalogue.__told where __oid = object_oid and __part = 0 and catalogue_name = 'pg_class');
create macro catalogue.col_description(table_oid, column_number) as (
    select any_value(__text) from catalogue.__told where __oid = table_oid and __part = column_number
);
create macro catalogue.shobj_description(object_oid, catalogue_name) as null::varchar;
create macro catalogue.pg_get_expr(expression, relation) as expression, (expression, relation, pretty) as expression;
create macro catalogue.pg_get_viewdef(view_oid) as null::varchar, (view_oid, pretty) as null::varchar;
create macro catalogue.pg_get_constraintdef(constraint_oid) as null::varchar, (constraint_oid, pretty) as null::varchar;
create macro catalogue.pg_get_indexdef(index_oid) as null::varchar, (index_oid, column_number, pretty) as null::varchar;
create macro catalogue.pg_get_ruledef(rule_oid) as null::varchar, (rule_oid, pretty) as null::varchar;
create macro catalogue.pg_get_triggerdef(trigger_oid) as null::varchar, (trigger_oid, pretty) as null::varchar;
create macro catalogue.pg_get_partkeydef(table_oid) as null::varchar;
create macro catalogue.pg_get_functiondef(function_oid) as null::varchar;
create macro catalogue.pg_get_function_result(function_oid) as null::varchar;
create macro catalogue.pg_get_function_arguments(function_oid) as null::varchar;
create macro catalogue.pg_get_function_identity_arguments(function_oid) as null::varchar;
create macro catalogue.pg_get_function_sqlbody(function_oid) as null::varchar;
create macro catalogue.pg_get_serial_sequence(table_name, column_name) as null::varchar;
create macro catalogue.pg_get_statisticsobjdef_columns(statistics_oid) as null::varchar;
create macro catalogue.pg_relation_is_publishable(table_oid) as false;
create macro catalogue.pg_tablespace_location(tablespace_oid) as '';
create macro catalogue.pg_relation_size(table_oid) as (select any_value(__bytes) from catalogue.__class where __oid = table_oid),
    (table_oid, fork) as (select any_value(__bytes) from catalogue.__class where __oid = table_oid);
create macro catalogue.pg_table_size(table_oid) as (select any_value(__bytes) from catalogue.__class where __oid = table_oid);
create macro catalogue.pg_total_relation_size(table_oid) as (select any_value(__bytes) from catalogue.__class where __oid = table_oid);
create macro catalogue.pg_indexes_size(table_oid) as 0;
create macro catalogue.pg_database_size(database_name) as (select sum(__bytes)::bigint from catalogue.__class);
create macro catalogue.pg_size_pretty(bytes) as (bytes // 1024) || ' kB';
create macro catalogue.parse_ident(identifier) as string_split(replace(identifier, '"', ''), '.');
create macro catalogue.pg_stat_get_numscans(index_oid) as 0;
create macro catalogue.quote_ident(identifier) as case when regexp_full_match(identifier, '[a-z_][a-z0-9_$]*') then identifier else '"' || replace(identifier, '"', '""') || '"' end;
create macro catalogue.array_upper(list, dimension) as nullif(len(list), 0);
create macro catalogue.array_lower(list, dimension) as case when len(list) > 0 then 1 end;
create macro catalogue.array_remove(list, element) as list_filter(list, lambda part: part is distinct from element);
-- A name is that of a table: `'marts.runs'`, `'"runs"'`, or its number.
create macro catalogue.to_regclass(table_name) as (
    select any_value(__oid)
    from catalogue.__class
    where __name = regexp_replace(replace(table_name::varchar, '"', ''), '^(marts|pg_catalog)\.', '') or __oid = try_cast(table_name as bigint)
);
create macro catalogue.to_regtype(type_name) as (
    select any_value(__oid)
    from catalogue.__type
    where __name = lower(type_name::varchar) or __sql_name = lower(type_name::varchar) or __oid = try_cast(type_name as bigint)
);
create macro catalogue.to_regnamespace(schema_name) as (
    select any_value(__oid) from catalogue.__namespace where __name = replace(schema_name::varchar, '"', '') or __oid = try_cast(schema_name as bigint)
);
create macro catalogue.to_regrole(role) as 10;
create macro catalogue.name_of_class(table_oid) as (select any_value(__name) from catalogue.__class where __oid = table_oid);
create macro catalogue.name_of_type(type_oid) as (select any_value(__sql_name) from catalogue.__type where __oid = type_oid);
create macro catalogue.name_of_namespace(schema_oid) as (select any_value(__name) from catalogue.__namespace where __oid = schema_oid);
create macro catalogue.pg_get_keywords() as table select null::varchar as word, null::varchar as catcode, null::boolean as barelabel, null::varchar as catdesc, null::varchar as baredesc where false;
create macro catalogue._pg_expandarray(list) as {'x': unnest(list), 'n': generate_subscripts(list, 1)};
