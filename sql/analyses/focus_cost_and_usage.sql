-- grain: one row per origin charge (an hour of a machine, volume, load balancer or control plane) and who it falls to: consumer, pod, team and cost category; of
--     closed months, of which neither machines nor pods are kept, one per row of costs_hourly
-- guarantee: the columns are those of FOCUS 1.2, those of split cost allocation of 1.3, and our own (`x_`). EffectiveCost adds up to costs_hourly, by hour, cluster, pipeline, job, namespace and
--     category, and by team (where teams share one, within a nano-dollar per row); ratios of an origin charge add up to 1, quantities to the hours that it was paid for. What has no known
--     price is left out
-- inputs: int_allocations, int_service_hours, int_service_lives, int_service_resources, int_machine_hours, int_machine_prices, int_machines, int_booked_costs, pods, team_shares,
--     stg_closed_days, stg_watermarks, `vars: focus_from_ms, focus_to_ms, focus_billing_account`
with costs as (
    {{ focus_costs() }}
),

named as (
    select
        costs.cluster,
        costs.origin_kind,
        costs.origin,
        costs.hour_start_ms,
        costs.consumer_kind,
        costs.pod_uid,
        costs.owner_pod_uid,
        case when costs.pod_uid is not null then pods.pod_name end as pod_name,
        coalesce(pods.namespace, costs.namespace, 'unattributed') as namespace,
        coalesce(shares.member, pods.team, 'unattributed') as team,
        coalesce(pods.pipeline, 'unattributed') as pipeline,
        coalesce(pods.run, 'unattributed') as run,
        coalesce(pods.job, 'unattributed') as job,
        costs.cost_category,
        case
            when shares.member is null then costs.cost_nano
            else {{ prorate('costs.cost_nano', 'shares.to_part', 'shares.whole') }} - {{ prorate('costs.cost_nano', 'shares.from_part', 'shares.whole') }}
        end as cost_nano
    from costs
    left join {{ ref('pods') }} as pods on costs.cluster = pods.cluster and costs.owner_pod_uid = pods.pod_uid
    left join {{ ref('team_shares') }} as shares on coalesce(pods.team, 'unattributed') = shares.team
),

wholes as (
    select
        *,
        cast(sum(cost_nano) over (partition by cluster, origin_kind, origin, hour_start_ms) as bigint) as whole_nano
    from named
),

-- What an hour that cost nothing is made of counts alike.
parts as (
    select
        *,
        case when whole_nano > 0 then cost_nano else cast(1 as bigint) end as part
    from wholes
),

running as (
    select
        *,
        cast(sum(part) over (
            partition by cluster, origin_kind, origin, hour_start_ms
            order by
                consumer_kind asc nulls last,
                pod_uid asc nulls last,
                owner_pod_uid asc nulls last,
                namespace asc nulls last,
                cost_category asc nulls last,
                team asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by cluster, origin_kind, origin, hour_start_ms) as bigint) as whole_part
    from parts
),

origins as (
    {{ focus_machine_hours() }}
    union all
    {{ focus_service_hours('costs') }}
),

timed as (
    select
        *,
        {{ wide_idiv('cast(greatest(priced_ms, cast(1 as bigint)) as decimal(19,0)) * cast(1000000000000000000 as decimal(19,0))', 'cast(3600000 as decimal(38,0))') }} as hours_atto
    from origins
),

-- An hour has one price: the machine's, or what comes out where that changed within it.
priced as (
    select
        running.*,
        timed.cost_basis,
        timed.resource_id,
        timed.resource_name,
        timed.provider,
        timed.region,
        timed.zone,
        timed.item,
        timed.capacity_type,
        timed.pool,
        timed.list_unit_nano,
        case
            when running.whole_nano = 0 then cast(0 as bigint)
            else coalesce(
                timed.unit_nano,
                cast({{ wide_idiv('cast(running.whole_nano as decimal(19,0)) * cast(3600000 as decimal(19,0))', 'cast(greatest(timed.priced_ms, cast(1 as bigint)) as decimal(38,0))') }} as bigint)
            )
        end as unit_nano,
        {{ running_part('timed.hours_atto') }} as quantity_atto,
        {{ running_part('1000000000000000000') }} as ratio_atto
    from running
    inner join timed
        on running.cluster = timed.cluster
        and running.origin_kind = timed.origin_kind
        and running.origin = timed.origin
        and running.hour_start_ms = timed.hour_start_ms
),

listed as (
    select
        *,
        case when whole_nano = 0 then unit_nano else coalesce(list_unit_nano, unit_nano) end as listed_nano
    from priced
),

booked as (
    {{ focus_booked() }}
),

charges as (
    select
        cluster,
        hour_start_ms,
        origin_kind,
        consumer_kind,
        pod_uid,
        pod_name,
        namespace,
        team,
        pipeline,
        run,
        job,
        cost_category,
        cost_basis,
        cast(null as bigint) as adjusts_month_ms,
        resource_id,
        case when resource_name <> resource_id then resource_name end as resource_name,
        provider,
        region,
        zone,
        item,
        capacity_type,
        pool,
        {{ usd('cost_nano') }} as cost,
        case
            when listed_nano = unit_nano then {{ usd('cost_nano') }}
            else {{ usd(wide_idiv('quantity_atto * cast(listed_nano as decimal(19,0))', 'cast(1000000000000000000 as decimal(38,0))')) }}
        end as list_cost,
        {{ usd('unit_nano') }} as unit_price,
        {{ usd('listed_nano') }} as list_unit_price,
        {{ of_atto('quantity_atto') }} as quantity,
        'Hours' as unit,
        case when origin_kind in ('machine', 'volume') then {{ atto_text('ratio_atto') }} end as ratio
    from listed
    union all
    -- What is kept of a closed month is what it cost: it is counted in dollars.
    select
        cluster,
        hour_start_ms,
        origin_kind,
        cast(null as string) as consumer_kind,
        cast(null as string) as pod_uid,
        cast(null as string) as pod_name,
        namespace,
        team,
        pipeline,
        'unattributed' as run,
        job,
        cost_category,
        cost_basis,
        adjusts_month_ms,
        cast(null as string) as resource_id,
        cast(null as string) as resource_name,
        cast(null as string) as provider,
        cast(null as string) as region,
        cast(null as string) as zone,
        cast(null as string) as item,
        cast(null as string) as capacity_type,
        cast(null as string) as pool,
        {{ usd('cost_nano') }} as cost,
        {{ usd('cost_nano') }} as list_cost,
        case when adjusts_month_ms is null then cast(1 as decimal(18,9)) end as unit_price,
        case when adjusts_month_ms is null then cast(1 as decimal(18,9)) end as list_unit_price,
        case when adjusts_month_ms is null then cast({{ usd('cost_nano') }} as decimal(38,18)) end as quantity,
        case when adjusts_month_ms is null then 'USD' end as unit,
        cast(null as string) as ratio
    from booked
),

dated as (
    select
        charges.*,
        {{ at('charges.hour_start_ms') }} as start_at,
        {{ at('charges.hour_start_ms + 3600000') }} as end_at,
        charges.origin_kind <> 'closed_month' and coalesce(charges.hour_start_ms + 3600000 > watermarks.watermark_ms, true) as is_provisional,
        coalesce(charges.item, replace(charges.origin_kind, '_', ' ')) as sku,
        case charges.provider when 'aws' then 'AWS' when 'gcp' then 'Google Cloud' when 'azure' then 'Microsoft' else coalesce(charges.provider, 'Self-managed') end as provider_name,
        '{"podledger/cluster":' || {{ json_text('charges.cluster') }}
        || {{ tag('namespace', 'charges.namespace') }}
        || {{ tag('team', 'charges.team') }}
        || {{ tag('pipeline', 'charges.pipeline') }}
        || {{ tag('run', 'charges.run') }}
        || {{ tag('job', 'charges.job') }}
        || '}' as tags
    from charges
    left join {{ ref('stg_watermarks') }} as watermarks on charges.cluster = watermarks.cluster
)

select
    zone as AvailabilityZone,
    cost as BilledCost,
    {{ quoted(var('focus_billing_account', 'podledger')) }} as BillingAccountId,
    {{ quoted(var('focus_billing_account', 'podledger')) }} as BillingAccountName,
    'Billing account' as BillingAccountType,
    'USD' as BillingCurrency,
    {{ month_after('start_at') }} as BillingPeriodEnd,
    {{ month_of('start_at') }} as BillingPeriodStart,
    cast(null as string) as CapacityReservationId,
    cast(null as string) as CapacityReservationStatus,
    case when origin_kind = 'adjustment' then 'Adjustment' else 'Usage' end as ChargeCategory,
    case when origin_kind = 'adjustment' then 'Correction' end as ChargeClass,
    case
        when origin_kind = 'adjustment' then 'What later bills say of a closed month'
        when origin_kind = 'closed_month' then 'Closed month, as it was closed: ' || replace(cost_category, '_', ' ')
        else sku || coalesce(' (' || capacity_type || ')', '') || ': ' || replace(cost_category, '_', ' ') || coalesce(', pod ' || namespace || '/' || pod_name, '')
    end as ChargeDescription,
    case when origin_kind = 'adjustment' then 'One-Time' else 'Usage-Based' end as ChargeFrequency,
    end_at as ChargePeriodEnd,
    start_at as ChargePeriodStart,
    cast(null as string) as CommitmentDiscountCategory,
    cast(null as string) as CommitmentDiscountId,
    cast(null as string) as CommitmentDiscountName,
    cast(null as decimal(38,18)) as CommitmentDiscountQuantity,
    cast(null as string) as CommitmentDiscountStatus,
    cast(null as string) as CommitmentDiscountType,
    cast(null as string) as CommitmentDiscountUnit,
    case when origin_kind <> 'adjustment' then quantity end as ConsumedQuantity,
    case when origin_kind <> 'adjustment' then unit end as ConsumedUnit,
    cost as ContractedCost,
    unit_price as ContractedUnitPrice,
    cost as EffectiveCost,
    cast(null as string) as InvoiceId,
    provider_name as InvoiceIssuerName,
    list_cost as ListCost,
    list_unit_price as ListUnitPrice,
    case when origin_kind = 'adjustment' then cast(null as string) when capacity_type = 'spot' then 'Dynamic' else 'Standard' end as PricingCategory,
    'USD' as PricingCurrency,
    unit_price as PricingCurrencyContractedUnitPrice,
    cost as PricingCurrencyEffectiveCost,
    list_unit_price as PricingCurrencyListUnitPrice,
    quantity as PricingQuantity,
    unit as PricingUnit,
    provider_name as ProviderName,
    provider_name as PublisherName,
    region as RegionId,
    region as RegionName,
    resource_id as ResourceId,
    resource_name as ResourceName,
    case
        when resource_id is null then cast(null as string)
        when origin_kind = 'machine' then 'Virtual machine'
        when origin_kind = 'volume' then 'Volume'
        when origin_kind = 'load_balancer' then 'Load balancer'
        else 'Kubernetes control plane'
    end as ResourceType,
    case when origin_kind = 'volume' then 'Storage' when origin_kind = 'load_balancer' then 'Networking' else 'Compute' end as ServiceCategory,
    case
        when origin_kind = 'machine' then 'Kubernetes nodes'
        when origin_kind = 'volume' then 'Kubernetes volumes'
        when origin_kind = 'load_balancer' then 'Kubernetes load balancers'
        when origin_kind = 'control_plane' then 'Kubernetes control planes'
        else 'Kubernetes'
    end as ServiceName,
    case
        when origin_kind = 'machine' then 'Virtual Machines'
        when origin_kind = 'volume' then 'Block Storage'
        when origin_kind = 'load_balancer' then 'Application Networking'
        else 'Containers'
    end as ServiceSubcategory,
    case when origin_kind <> 'adjustment' then sku end as SkuId,
    case when origin_kind = 'closed_month' then 'Cost' when origin_kind <> 'adjustment' then 'Time' end as SkuMeter,
    case
        when origin_kind = 'machine' and item is not null
            then '{"InstanceType":' || {{ json_text('item') }} || coalesce(',"x_CapacityType":' || {{ json_text('capacity_type') }}, '') || '}'
    end as SkuPriceDetails,
    case when origin_kind <> 'adjustment' then provider_name || '/' || coalesce(region, '-') || '/' || sku || '/' || coalesce(capacity_type, '-') end as SkuPriceId,
    cluster as SubAccountId,
    cluster as SubAccountName,
    'Kubernetes cluster' as SubAccountType,
    tags as Tags,
    case when ratio is not null then {{ quoted('podledger/' ~ var('allocation_basis') ~ '/' ~ var('weights_method')) }} end as AllocatedMethodId,
    '{"Elements":[{"AllocatedRatio":' || ratio || ',"UsageUnit":"Hours","UsageQuantity":' || cast(quantity as string) || '}]}' as AllocatedMethodDetails,
    case when ratio is not null then coalesce(pod_uid, consumer_kind) end as AllocatedResourceId,
    case when ratio is not null then coalesce(namespace || '/' || pod_name, replace(cost_category, '_', ' ')) end as AllocatedResourceName,
    case when ratio is not null then tags end as AllocatedTags,
    cluster as x_Cluster,
    namespace as x_Namespace,
    team as x_Team,
    pipeline as x_Pipeline,
    run as x_Run,
    job as x_Job,
    pod_uid as x_PodUid,
    pod_name as x_PodName,
    consumer_kind as x_ConsumerKind,
    cost_category as x_CostCategory,
    cost_basis as x_CostBasis,
    pool as x_Pool,
    item as x_InstanceType,
    capacity_type as x_CapacityType,
    {{ date_of('adjusts_month_ms') }} as x_AdjustsMonth,
    is_provisional as x_IsProvisional
from dated
