-- grain: one row per charge date, provider, billing account and line
-- guarantee: all lines but those of the group `information` add up to the invoice, to the nano-dollar
-- inputs: int_bill_lines, int_billed_hours, int_billed_groups, int_billed_service_hours, int_billed_service_groups, int_allocations
{{ config(materialized='view') }}
{%- set nano = 'cast(1000000000 as decimal(38,0))' %}
with invoices as (
    select
        day_start_ms,
        provider,
        billing_account_id,
        cast({{ wide_idiv('sum(billed_atto)', nano) }} as bigint) as invoice_nano
    from {{ ref('int_bill_lines') }}
    group by
        day_start_ms,
        provider,
        billing_account_id
),

-- What the bill says beside the time of machines that are known.
charged as (
    select
        day_start_ms,
        provider,
        billing_account_id,
        line,
        cast({{ wide_idiv('effective_atto', nano) }} as bigint) as amount_nano
    from {{ ref('int_bill_lines') }}
    where line <> 'matched'
    union all
    -- Fees that are paid at another time than what they are for is used.
    select
        day_start_ms,
        provider,
        billing_account_id,
        'amortization' as line,
        cast({{ wide_idiv('sum(billed_atto - effective_atto)', nano) }} as bigint) as amount_nano
    from {{ ref('int_bill_lines') }}
    group by
        day_start_ms,
        provider,
        billing_account_id
),

-- What the time of these machines went to, and what they have beside them.
allocated as (
    select
        hours.hour_start_ms - hours.hour_start_ms % 86400000 as day_start_ms,
        hours.provider,
        hours.billing_account_id,
        case
            when costs.consumer_kind in ('idle', 'unobserved') then costs.consumer_kind
            when costs.cost_category in ('node_reserved', 'system', 'platform') then 'shared'
            else 'attributed'
        end as line,
        costs.cost_nano as amount_nano
    from {{ ref('int_allocations') }} as costs
    inner join {{ ref('int_billed_hours') }} as hours
        on costs.cluster = hours.cluster
        and costs.machine = hours.machine
        and costs.hour_start_ms = hours.hour_start_ms
    where hours.is_whole
    union all
    select
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms,
        provider,
        billing_account_id,
        'partly_billed' as line,
        restated_nano as amount_nano
    from {{ ref('int_billed_hours') }}
    where not is_whole
    union all
    select
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms,
        provider,
        billing_account_id,
        case service_kind when 'volume' then 'volumes' else 'load_balancers' end as line,
        restated_nano as amount_nano
    from {{ ref('int_billed_service_hours') }}
),

-- Time that was charged for and not seen, at what it was charged for; negative where less was charged for than was seen.
unseen as (
    select
        day_start_ms,
        provider,
        billing_account_id,
        'quantity_variance' as line,
        unseen_nano as amount_nano
    from {{ ref('int_billed_groups') }}
    union all
    select
        day_start_ms,
        provider,
        billing_account_id,
        'quantity_variance' as line,
        unseen_nano as amount_nano
    from {{ ref('int_billed_service_groups') }}
),

parts as (
    select * from charged
    union all
    select * from allocated
    union all
    select * from unseen
),

summed as (
    select
        day_start_ms,
        provider,
        billing_account_id,
        line,
        cast(sum(amount_nano) as bigint) as amount_nano
    from parts
    group by
        day_start_ms,
        provider,
        billing_account_id,
        line
),

-- Hours are cut off below a nano-dollar; and of charges for more than a day, machines' hours lie on other days.
rounded as (
    select
        day_start_ms,
        provider,
        billing_account_id,
        'rounding' as line,
        cast(sum(amount_nano) as bigint) as amount_nano
    from (
        select day_start_ms, provider, billing_account_id, invoice_nano as amount_nano from invoices
        union all
        select day_start_ms, provider, billing_account_id, cast(0 as bigint) - amount_nano as amount_nano from summed
    ) as differences
    group by
        day_start_ms,
        provider,
        billing_account_id
),

informed as (
    select
        hour_start_ms - hour_start_ms % 86400000 as day_start_ms,
        provider,
        billing_account_id,
        'price_variance' as line,
        cast(sum(restated_nano - estimated_nano) as bigint) as amount_nano
    from {{ ref('int_billed_hours') }}
    group by
        hour_start_ms - hour_start_ms % 86400000,
        provider,
        billing_account_id
),

final as (
    select * from summed
    union all
    select * from rounded
    union all
    select * from informed
)

select
    {{ date_of('day_start_ms') }} as charge_date,
    provider,
    billing_account_id,
    line,
    case
        when line in ('attributed', 'shared', 'idle', 'out_of_scope') then line
        when line in ('volumes', 'load_balancers') then 'attributed'
        when line in ('unobserved', 'quantity_variance', 'machines_not_seen') then 'unobserved'
        when line = 'price_variance' then 'information'
        else 'difference'
    end as line_group,
    {{ usd('amount_nano') }} as amount
from final
where amount_nano <> 0
