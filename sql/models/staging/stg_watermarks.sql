-- grain: one row per cluster: how far it has been observed
-- guarantee: open intervals end here, never at a wall clock
-- inputs: lake.collection_watermarks
select
    cluster,
    max({{ ms('observed_through_at') }}) as watermark_ms
from {{ source('lake', 'collection_watermarks') }}
group by cluster
