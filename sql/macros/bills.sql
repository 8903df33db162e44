{# What names a machine in a bill and in a cluster alike: what follows the last slash; within a scale set, the set too. #}
{% macro machine_key(identifier) %}case
        when regexp_extract(lower({{ identifier }}), '/virtualmachinescalesets/(.+)$', 1) <> '' then regexp_extract(lower({{ identifier }}), '/virtualmachinescalesets/(.+)$', 1)
        else nullif(regexp_extract(lower({{ identifier }}), '([^/]+)$', 1), '')
    end{% endmacro %}

{# By what a charge names it: as `machine_key`; a network load balancer by its name and number, as its host is called. #}
{% macro service_key(identifier) %}case
        when regexp_extract(lower({{ identifier }}), ':loadbalancer/(net/[^/]+/[^/]+)$', 1) <> ''
            then regexp_extract(lower({{ identifier }}), ':loadbalancer/net/([^/]+)/[^/]+$', 1) || '-' || regexp_extract(lower({{ identifier }}), '([^/]+)$', 1)
        else {{ machine_key(identifier) }}
    end{% endmacro %}

{# The key of a load balancer of AWS by its host: `name-number.elb.region.amazonaws.com`, and of a classic one, which is charged for by its name alone,
   `name-digits.region.elb.amazonaws.com`. #}
{% macro balancer_key(host) %}coalesce(
        nullif(regexp_extract(lower({{ host }}), '^([^.]+)[.]elb[.][^.]+[.]amazonaws[.]com', 1), ''),
        nullif(regexp_extract(lower({{ host }}), '^(?:internal-)?([^.]+)-[0-9]+[.][^.]+[.]elb[.]amazonaws[.]com', 1), '')
    ){% endmacro %}

{# Whether a charge is for having a thing that is no machine, if that is known: all that names it but traffic. #}
{% macro is_service_charge(charges) %}(
        {{ charges }}.charge_category = 'Usage'
        and not {{ charges }}.is_machine
        and coalesce({{ charges }}.commitment_discount_status, '') <> 'Unused'
        and {{ charges }}.effective_atto is not null
        and {{ charges }}.charge_end_ms > {{ charges }}.charge_start_ms
        and not coalesce({{ is_network_charge(charges) }}, false)
    ){% endmacro %}

{# Whether a charge is for the time of a machine, by what its provider calls that. #}
{% macro is_machine_charge(charges) %}(
        {{ charges }}.charge_category = 'Usage'
        and coalesce({{ charges }}.commitment_discount_status, '') <> 'Unused'
        and case {{ charges }}.provider
            when 'aws' then case
                when {{ charges }}.usage_type is not null then regexp_extract({{ charges }}.usage_type, '(BoxUsage|SpotUsage|DedicatedUsage|HostUsage|SchedUsage)', 1) <> ''
                else coalesce({{ charges }}.service_category, '') = 'Compute' and {{ hours_unit(charges) }}
            end
            when 'azure' then coalesce({{ charges }}.service_name, '') in ('Virtual Machines', 'Virtual Machines Licenses')
            when 'gcp' then coalesce({{ charges }}.service_name, '') = 'Compute Engine'
                and regexp_extract({{ charges }}.usage_type, '(Instance Core|Instance Ram|Core running|Ram running|GPU|Custom Core|Custom Ram)', 1) <> ''
            else coalesce({{ charges }}.service_category, '') = 'Compute' and {{ hours_unit(charges) }}
        end
    ){% endmacro %}

{# Whether a charge is for traffic or what carries it, load balancers apart: by the category of FOCUS, else by what its provider calls that. #}
{% macro is_network_charge(charges) %}(
        {{ charges }}.charge_category = 'Usage'
        and regexp_extract(lower(coalesce({{ charges }}.service_name, '') || ' ' || coalesce({{ charges }}.usage_type, '')), '(load ?balanc|forwarding rule)', 1) = ''
        and (
            coalesce({{ charges }}.service_category, '') = 'Networking'
            or case {{ charges }}.provider
                when 'aws' then regexp_extract({{ charges }}.usage_type, '(DataTransfer|AWS-In-Bytes|AWS-Out-Bytes|NatGateway|TransitGateway|VpcEndpoint|VpcPeering|PublicIPv4)', 1) <> ''
                when 'azure' then coalesce({{ charges }}.service_name, '') in ('Bandwidth', 'Virtual Network', 'NAT Gateway', 'VPN Gateway', 'ExpressRoute')
                when 'gcp' then regexp_extract({{ charges }}.usage_type, '(Egress|Ingress|Data Transfer|Cloud NAT|External IP)', 1) <> ''
                else false
            end
        )
    ){% endmacro %}

{# Whether a charge is for being looked after: a support plan. #}
{% macro is_support_charge(charges) %}(
        {{ charges }}.charge_category in ('Usage', 'Purchase')
        and regexp_extract(lower(coalesce({{ charges }}.service_name, '')), '(support)', 1) <> ''
    ){% endmacro %}

{# Whether a charge counts hours of the whole machine. Azure's `10 Hours` may mean either of two things, and Google counts cores and
   bytes: how long such a machine was billed is not known. #}
{% macro hours_unit(charges) %}(lower(coalesce({{ charges }}.consumed_unit, '')) in ('h', 'hr', 'hrs', 'hour', 'hours', '1 hour', '1 hours', 'instance-hours')){% endmacro %}

{# Whether a charge is of what `vars: billing_scope` declares; all is where nothing is declared. #}
{% macro in_billing_scope(charges) %}(
{%- set scope = var('billing_scope') -%}
        true
{%- if scope.accounts %} and ({{ charges }}.billing_account_id in ({% for account in scope.accounts %}{{ quoted(account) }}{% if not loop.last %}, {% endif %}{% endfor %}) or coalesce({{ charges }}.sub_account_id, '') in ({% for account in scope.accounts %}{{ quoted(account) }}{% if not loop.last %}, {% endif %}{% endfor %})){% endif %}
{%- for tag in scope.tags %} and coalesce({{ charges }}.tags[{{ quoted(tag.key) }}], '') = {{ quoted(tag.value) }}{% endfor %}
    ){% endmacro %}
