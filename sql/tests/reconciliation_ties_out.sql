-- guards: what machines, volumes and load balancers were charged for is what their hours cost and what time was charged for unseen, but for two
--     nano-dollars per charged hour of one and two per charged time
with charge_groups as (
    select provider, billing_account_id, cost_atto, unseen_nano from {{ ref('int_billed_groups') }}
    union all
    select provider, billing_account_id, cost_atto, unseen_nano from {{ ref('int_billed_service_groups') }}
),

hours as (
    select provider, billing_account_id, restated_nano, cast(1 as bigint) as stretches from {{ ref('int_billed_hours') }}
    union all
    select provider, billing_account_id, restated_nano, stretches from {{ ref('int_billed_service_hours') }}
),

charged as (
    select
        provider,
        billing_account_id,
        sum(cost_atto) as cost_atto,
        cast(sum(unseen_nano) as bigint) as unseen_nano,
        count(*) as charges
    from charge_groups
    group by
        provider,
        billing_account_id
),

restated as (
    select
        provider,
        billing_account_id,
        cast(sum(restated_nano) as bigint) as restated_nano,
        cast(sum(stretches) as bigint) as hours
    from hours
    group by
        provider,
        billing_account_id
)

select
    charged.provider,
    charged.billing_account_id,
    charged.cost_atto,
    charged.unseen_nano,
    restated.restated_nano
from charged
left join restated
    on charged.provider = restated.provider and charged.billing_account_id = restated.billing_account_id
where
    abs(
        cast(charged.cost_atto as decimal(38,0))
        - cast(charged.unseen_nano + coalesce(restated.restated_nano, cast(0 as bigint)) as decimal(19,0)) * cast(1000000000 as decimal(10,0))
    ) > cast(2 * (charged.charges + coalesce(restated.hours, 0)) as decimal(19,0)) * cast(1000000000 as decimal(10,0))
