//! What each kind of bill calls its columns.
//!
//! Names are compared by their letters and digits alone, in lower case: `lineItem/UnblendedCost`, `line_item_unblended_cost` and
//! `LineItemUnblendedCost` are one. Where a header has its English name in brackets, as Azure's German ones have, that counts.

use podledger_sql::imports::{BILL_AZURE, BILL_COST_EXPLORER, BILL_CUR, BILL_FOCUS, BILL_GCP};

/// How the text of a cell becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Money or a quantity: eighteen decimals.
    Amount,
    /// UTC unless the text names an offset.
    Instant,
    /// An object: text to text.
    Tags,
    /// A list.
    List,
}

/// A column that the query of a format reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Name in the table `bill`.
    pub name: &'static str,
    pub kind: Kind,
    /// What files call it, the best first.
    pub headers: &'static [&'static str],
    pub need: Need,
}

/// Whether a file must have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It may be missing, and cells may be empty.
    Optional,
    /// It must be there and cells must not be empty.
    Required,
    /// As required, unless the command says that all is in US dollars.
    Currency,
}

/// A kind of bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// FOCUS 1.0 to 1.4.
    Focus,
    /// AWS's Cost and Usage Report: legacy, and CUR 2.0 of Data Exports.
    Cur,
    /// Google's usage cost export of Cloud Billing to BigQuery.
    Gcp,
    /// Azure's cost details, actual or amortised.
    Azure,
    /// Answers of AWS's Cost Explorer, in JSON.
    CostExplorer,
}

impl Format {
    /// Its name, as `bill_format` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Focus => "focus",
            Self::Cur => "cur",
            Self::Gcp => "gcp-billing",
            Self::Azure => "azure-costs",
            Self::CostExplorer => "cost-explorer",
        }
    }

    /// How names of its files end.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::CostExplorer => &[".json"],
            Self::Focus | Self::Cur | Self::Gcp | Self::Azure => &[".csv", ".csv.gz", ".parquet"],
        }
    }

    /// The query that makes charges of the table `bill`.
    pub(super) fn query(self) -> &'static str {
        match self {
            Self::Focus => BILL_FOCUS,
            Self::Cur => BILL_CUR,
            Self::Gcp => BILL_GCP,
            Self::Azure => BILL_AZURE,
            Self::CostExplorer => BILL_COST_EXPLORER,
        }
    }

    /// What the table `bill` calls the billed cost, the best first.
    pub(super) fn billed_costs(self) -> &'static [&'static str] {
        match self {
            Self::Focus => &["billed_cost"],
            Self::Cur => &["net_unblended_cost", "unblended_cost"],
            Self::Gcp | Self::Azure => &["cost"],
            Self::CostExplorer => &["unblended_cost"],
        }
    }

    /// Whether days may be written as in the United States: month, day, year. The FOCUS project's own examples do.
    pub(super) fn has_american_dates(self) -> bool {
        matches!(self, Self::Focus | Self::Azure)
    }

    /// What headers of one column per tag begin with, by their letters and digits, and what is cut off the tag's name after it.
    pub(super) fn tag_columns(self) -> &'static [&'static str] {
        match self {
            Self::Cur => &["resourceTags/", "resource_tags_"],
            Self::Focus | Self::Gcp | Self::Azure | Self::CostExplorer => &[],
        }
    }

    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Focus => FOCUS,
            Self::Cur => CUR,
            Self::Gcp => GCP,
            Self::Azure => AZURE,
            Self::CostExplorer => COST_EXPLORER,
        }
    }
}

const fn text(name: &'static str, headers: &'static [&'static str]) -> Field {
    field(name, Kind::Text, headers, Need::Optional)
}

const fn amount(name: &'static str, headers: &'static [&'static str]) -> Field {
    field(name, Kind::Amount, headers, Need::Optional)
}

const fn instant(name: &'static str, headers: &'static [&'static str]) -> Field {
    field(name, Kind::Instant, headers, Need::Optional)
}

const fn required(name: &'static str, kind: Kind, headers: &'static [&'static str]) -> Field {
    field(name, kind, headers, Need::Required)
}

const fn currency(headers: &'static [&'static str]) -> Field {
    field("currency", Kind::Text, headers, Need::Currency)
}

const fn field(name: &'static str, kind: Kind, headers: &'static [&'static str], need: Need) -> Field {
    Field {
        name,
        kind,
        headers,
        need,
    }
}

/// <https://focus.finops.org/focus-columns/>; from 1.3 on `ServiceProviderName` stands instead of `ProviderName`.
const FOCUS: &[Field] = &[
    text(
        "provider",
        &[
            "ProviderName",
            "ServiceProviderName",
            "HostProviderName",
            "Provider",
        ],
    ),
    text("billing_account_id", &["BillingAccountId"]),
    text("sub_account_id", &["SubAccountId"]),
    required("billing_period_start_at", Kind::Instant, &["BillingPeriodStart"]),
    instant("billing_period_end_at", &["BillingPeriodEnd"]),
    required("charge_period_start_at", Kind::Instant, &["ChargePeriodStart"]),
    required("charge_period_end_at", Kind::Instant, &["ChargePeriodEnd"]),
    text("service_name", &["ServiceName"]),
    text("service_category", &["ServiceCategory"]),
    text("sku_id", &["SkuId"]),
    text("region", &["RegionId", "Region"]),
    text("zone", &["AvailabilityZone"]),
    text("resource_id", &["ResourceId"]),
    text("resource_type", &["ResourceType"]),
    required("charge_category", Kind::Text, &["ChargeCategory"]),
    text("charge_class", &["ChargeClass"]),
    text("charge_description", &["ChargeDescription"]),
    text("pricing_category", &["PricingCategory"]),
    amount("pricing_quantity", &["PricingQuantity"]),
    text("pricing_unit", &["PricingUnit"]),
    amount("consumed_quantity", &["ConsumedQuantity"]),
    text("consumed_unit", &["ConsumedUnit"]),
    text("commitment_discount_id", &["CommitmentDiscountId"]),
    text("commitment_discount_status", &["CommitmentDiscountStatus"]),
    text("commitment_discount_type", &["CommitmentDiscountType"]),
    amount("list_cost", &["ListCost"]),
    amount("contracted_cost", &["ContractedCost"]),
    amount("effective_cost", &["EffectiveCost"]),
    required("billed_cost", Kind::Amount, &["BilledCost"]),
    currency(&["BillingCurrency"]),
    field("tags", Kind::Tags, &["Tags"], Need::Optional),
    text("usage_type", &["x_UsageType"]),
    text("operation", &["x_Operation"]),
    text("instance_type", &["x_InstanceType"]),
    field(
        "sku_price_details",
        Kind::Tags,
        &["SkuPriceDetails"],
        Need::Optional,
    ),
];

/// <https://docs.aws.amazon.com/cur/latest/userguide/data-dictionary.html>, and
/// <https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2.html>.
const CUR: &[Field] = &[
    text("payer_account_id", &["bill/PayerAccountId"]),
    text("usage_account_id", &["lineItem/UsageAccountId"]),
    text("invoice_id", &["bill/InvoiceId"]),
    instant("billing_period_start_at", &["bill/BillingPeriodStartDate"]),
    instant("billing_period_end_at", &["bill/BillingPeriodEndDate"]),
    text("time_interval", &["identity/TimeInterval"]),
    required("usage_start_at", Kind::Instant, &["lineItem/UsageStartDate"]),
    instant("usage_end_at", &["lineItem/UsageEndDate"]),
    required("line_item_type", Kind::Text, &["lineItem/LineItemType"]),
    text("product_code", &["lineItem/ProductCode"]),
    text("product_name", &["product/ProductName"]),
    text("service_code", &["product/servicecode"]),
    text("product_family", &["product/productFamily"]),
    text("sku", &["product/sku"]),
    text("rate_id", &["pricing/RateId"]),
    text("region", &["product/regionCode", "product/region"]),
    text("zone", &["lineItem/AvailabilityZone"]),
    text("resource_id", &["lineItem/ResourceId"]),
    text("usage_type", &["lineItem/UsageType"]),
    text("operation", &["lineItem/Operation"]),
    text("instance_type", &["product/instanceType"]),
    text("description", &["lineItem/LineItemDescription"]),
    amount("usage_amount", &["lineItem/UsageAmount"]),
    text("pricing_unit", &["pricing/unit"]),
    amount("public_on_demand_cost", &["pricing/publicOnDemandCost"]),
    required("unblended_cost", Kind::Amount, &["lineItem/UnblendedCost"]),
    amount("net_unblended_cost", &["lineItem/NetUnblendedCost"]),
    currency(&["lineItem/CurrencyCode"]),
    text("reservation_arn", &["reservation/ReservationARN"]),
    amount("reservation_effective_cost", &["reservation/EffectiveCost"]),
    amount(
        "reservation_net_effective_cost",
        &["reservation/NetEffectiveCost"],
    ),
    amount(
        "reservation_unused_upfront_fee",
        &["reservation/UnusedAmortizedUpfrontFeeForBillingPeriod"],
    ),
    amount(
        "reservation_unused_recurring_fee",
        &["reservation/UnusedRecurringFee"],
    ),
    amount(
        "reservation_net_unused_upfront_fee",
        &["reservation/NetUnusedAmortizedUpfrontFeeForBillingPeriod"],
    ),
    amount(
        "reservation_net_unused_recurring_fee",
        &["reservation/NetUnusedRecurringFee"],
    ),
    text("savings_plan_arn", &["savingsPlan/SavingsPlanARN"]),
    amount(
        "savings_plan_effective_cost",
        &["savingsPlan/SavingsPlanEffectiveCost"],
    ),
    amount(
        "savings_plan_net_effective_cost",
        &["savingsPlan/NetSavingsPlanEffectiveCost"],
    ),
    amount(
        "savings_plan_total_commitment",
        &["savingsPlan/TotalCommitmentToDate"],
    ),
    amount("savings_plan_used_commitment", &["savingsPlan/UsedCommitment"]),
    amount(
        "savings_plan_upfront_commitment",
        &["savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod"],
    ),
    amount(
        "savings_plan_recurring_commitment",
        &["savingsPlan/RecurringCommitmentForBillingPeriod"],
    ),
    amount(
        "savings_plan_net_upfront_commitment",
        &["savingsPlan/NetAmortizedUpfrontCommitmentForBillingPeriod"],
    ),
    amount(
        "savings_plan_net_recurring_commitment",
        &["savingsPlan/NetRecurringCommitmentForBillingPeriod"],
    ),
    text("split_parent_resource_id", &["splitLineItem/ParentResourceId"]),
    field("tags", Kind::Tags, &["resourceTags", "tags"], Need::Optional),
];

/// <https://docs.cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/detailed-usage>.
const GCP: &[Field] = &[
    text("billing_account_id", &["billing_account_id"]),
    text("service_name", &["service.description"]),
    text("sku_id", &["sku.id"]),
    text("description", &["sku.description"]),
    required("usage_start_at", Kind::Instant, &["usage_start_time"]),
    required("usage_end_at", Kind::Instant, &["usage_end_time"]),
    text("project_id", &["project.id"]),
    field("labels", Kind::List, &["labels"], Need::Optional),
    field("system_labels", Kind::List, &["system_labels"], Need::Optional),
    text("region", &["location.region"]),
    text("zone", &["location.zone"]),
    text("resource_name", &["resource.name"]),
    text("resource_global_name", &["resource.global_name"]),
    required("cost", Kind::Amount, &["cost"]),
    amount("list_cost", &["cost_at_list"]),
    currency(&["currency"]),
    amount("usage_amount", &["usage.amount"]),
    text("usage_unit", &["usage.unit"]),
    amount("pricing_quantity", &["usage.amount_in_pricing_units"]),
    text("pricing_unit", &["usage.pricing_unit"]),
    field("credits", Kind::List, &["credits"], Need::Optional),
    text("invoice_month", &["invoice.month"]),
    text("cost_type", &["cost_type"]),
];

/// <https://learn.microsoft.com/azure/cost-management-billing/automate/understand-usage-details-fields>: enterprise and customer
/// agreements, and the pay-as-you-go exports before them.
const AZURE: &[Field] = &[
    text("billing_account_id", &["BillingAccountId"]),
    text("subscription_id", &["SubscriptionId", "SubscriptionGuid"]),
    instant("billing_period_start_at", &["BillingPeriodStartDate"]),
    required("usage_at", Kind::Instant, &["Date", "UsageDateTime", "UsageDate"]),
    text("meter_category", &["MeterCategory"]),
    text("meter_subcategory", &["MeterSubCategory"]),
    text("meter_id", &["MeterId"]),
    text("meter_name", &["MeterName"]),
    text("product_name", &["ProductName", "Product"]),
    text("service_family", &["ServiceFamily"]),
    text("consumed_service", &["ConsumedService"]),
    text("region", &["ResourceLocation"]),
    text("zone", &["AvailabilityZone"]),
    text("resource", &["ResourceId", "InstanceId", "InstanceName"]),
    text("resource_type", &["ResourceType"]),
    text("charge_type", &["ChargeType"]),
    text("pricing_model", &["PricingModel"]),
    text("reservation_id", &["ReservationId"]),
    text("benefit_id", &["BenefitId"]),
    amount("quantity", &["Quantity", "UsageQuantity"]),
    text("unit", &["UnitOfMeasure"]),
    amount("payg_cost", &["PaygCostInBillingCurrency"]),
    required(
        "cost",
        Kind::Amount,
        &["CostInBillingCurrency", "PreTaxCost", "Cost"],
    ),
    currency(&["BillingCurrency", "BillingCurrencyCode", "Currency"]),
    field("tags", Kind::Tags, &["Tags"], Need::Optional),
    text("additional_info", &["AdditionalInfo"]),
];

/// The columns of [`super::cost_explorer`].
const COST_EXPLORER: &[Field] = &[
    required("start_at", Kind::Instant, &["Start"]),
    required("end_at", Kind::Instant, &["End"]),
    text("estimated", &["Estimated"]),
    required("unblended_cost", Kind::Amount, &["UnblendedCost"]),
    amount("amortized_cost", &["AmortizedCost"]),
    amount("usage_quantity", &["UsageQuantity"]),
    text("usage_unit", &["UsageUnit"]),
    currency(&["Currency"]),
    text("service", &["SERVICE"]),
    text("region", &["REGION"]),
    text("zone", &["AZ"]),
    text("linked_account", &["LINKED_ACCOUNT"]),
    text("usage_type", &["USAGE_TYPE"]),
    text("instance_type", &["INSTANCE_TYPE"]),
    text("operation", &["OPERATION"]),
    text("record_type", &["RECORD_TYPE"]),
    field("tags", Kind::Tags, &["Tags"], Need::Optional),
];
