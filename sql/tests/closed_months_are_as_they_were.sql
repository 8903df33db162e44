-- guards: what is kept of a closed month hashes to what its close noted, and no rows are kept of a month that is not closed
select
    coalesce(months.month_start_ms, contents.month_start_ms) as month_start_ms,
    months.content_hash as noted_hash,
    contents.content_hash as found_hash
from {{ ref('stg_closed_months') }} as months
full outer join {{ ref('int_closed_contents') }} as contents on months.month_start_ms = contents.month_start_ms
where coalesce(months.content_hash, '') <> coalesce(contents.content_hash, '')
