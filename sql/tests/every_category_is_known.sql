-- guards: every allocated nano-dollar is in exactly one cost category of the table
select distinct costs.cost_category
from {{ ref('int_booked_costs') }} as costs
left join {{ ref('cost_categories') }} as categories on costs.cost_category = categories.cost_category
where categories.cost_category is null
