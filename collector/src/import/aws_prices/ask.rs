//! Asking the price list: `GetProducts`, all pages.

use std::collections::BTreeSet;

use aws_sdk_pricing::Client;
use aws_sdk_pricing::types::{Filter, FilterType};

use super::offer::{Item, Offer, SERVICES, read};
use crate::aws::Aws;
use crate::error::Result;

/// What a policy has to allow.
const ACTION: &str = "pricing:GetProducts";

/// The price list, which is free.
pub(super) struct Asker<'a> {
    aws: &'a Aws,
    client: Client,
}

impl<'a> Asker<'a> {
    pub fn new(aws: &'a Aws) -> Self {
        Self {
            aws,
            client: Client::new(&aws.config),
        }
    }

    /// On-demand prices of Linux machines in a region: of one type, or of all.
    ///
    /// # Errors
    /// [`crate::Error::Aws`].
    pub async fn machines(&self, region: &str, instance_type: Option<&str>) -> Result<Vec<(Item, Offer)>> {
        let mut filters = vec![
            ("regionCode", region),
            ("operatingSystem", "Linux"),
            ("tenancy", "Shared"),
            ("preInstalledSw", "NA"),
            ("capacitystatus", "Used"),
        ];
        filters.extend(instance_type.map(|instance_type| ("instanceType", instance_type)));
        let offers = self.offers("AmazonEC2", &filters).await?;
        Ok(offers
            .into_iter()
            .filter(|(item, _)| matches!(item, Item::Machine { .. }))
            .collect())
    }

    /// Prices of volumes, load balancers and control planes in a region.
    ///
    /// # Errors
    /// [`crate::Error::Aws`].
    pub async fn services(&self, region: &str) -> Result<Vec<(Item, Offer)>> {
        let mut found = Vec::new();
        for (service, family) in SERVICES {
            let mut filters = vec![("regionCode", region)];
            filters.extend(family.map(|family| ("productFamily", family)));
            found.extend(self.offers(service, &filters).await?);
        }
        Ok(found)
    }

    async fn offers(&self, service: &str, filters: &[(&str, &str)]) -> Result<Vec<(Item, Offer)>> {
        let filters = filters.iter().map(|(field, value)| {
            Filter::builder()
                .r#type(FilterType::TermMatch)
                .field(*field)
                .value(*value)
                .build()
                .map_err(|error| self.aws.wrong(error.to_string()))
        });
        let filters: Vec<Filter> = filters.collect::<Result<_>>()?;
        let (mut found, mut tokens) = (Vec::new(), BTreeSet::new());
        let mut token: Option<String> = None;
        loop {
            let page = self
                .client
                .get_products()
                .service_code(service)
                .set_filters(Some(filters.clone()))
                .format_version("aws_v1")
                .set_next_token(token.take())
                .send()
                .await
                .map_err(|error| self.aws.failed(ACTION, &error))?;
            for entry in page.price_list() {
                found.extend(read(entry, service).map_err(|reason| self.aws.wrong(reason))?);
            }
            match page.next_token.filter(|token| !token.is_empty()) {
                None => return Ok(found),
                Some(next) if !tokens.insert(next.clone()) => {
                    return Err(self
                        .aws
                        .wrong("the pages of the price list have no end: one names itself as the next"));
                }
                next => token = next,
            }
        }
    }
}
