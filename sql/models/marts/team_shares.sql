-- grain: one row per team that several share, and member
-- guarantee: the parts of the members of one team follow each other from 0 to the whole
-- inputs: none: `vars: team_shares`
{{ config(materialized='view') }}
{%- for share in var('team_shares') %}
select
    {{ quoted(share.team) }} as team,
    {{ quoted(share.member) }} as member,
    cast({{ share.from_part }} as bigint) as from_part,
    cast({{ share.to_part }} as bigint) as to_part,
    cast({{ share.whole }} as bigint) as whole
union all
{%- endfor %}
select
    cast(null as string) as team,
    cast(null as string) as member,
    cast(0 as bigint) as from_part,
    cast(0 as bigint) as to_part,
    cast(0 as bigint) as whole
where false
