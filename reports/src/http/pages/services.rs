//! What is no machine's: volumes, load balancers, control planes.

use maud::html;

use super::super::problem::Problem;
use super::super::questions::{SERVICE_HOURS, SERVICE_PRICES, SERVICES};
use super::money::list;
use super::parts::{Place, card, table};
use super::{Context, Shown};
use crate::display::{cut, plain, short};

pub fn services(context: &Context<'_>) -> Result<Shown, Problem> {
    let scope = context.scope;
    let Some(service) = scope.name("service") else {
        return list(
            context,
            &SERVICES,
            "What costs something and is no machine. Pods pay for volumes while they mount them; while nobody does, who mounted it last.",
        );
    };
    let prices = context.ask(&SERVICE_PRICES, 100)?;
    let Some(newest) = prices.rows.last() else {
        return Err(Problem::missing(
            "no volume, load balancer or control plane has this identifier",
        ));
    };
    let name = prices.cell(newest, "service_name").text();
    let title = if name.is_empty() { service } else { name };
    let hours = context.ask_main(&SERVICE_HOURS)?;
    Ok(Shown {
        title: short(title),
        body: html! {
            header {
                p.crumbs { a href=(scope.link_one("/services", &[])) { (SERVICES.title) } }
                h1 { (short(title)) }
                p.lead { (prices.cell(newest, "service_kind").text().replace('_', " ")) " " (cut(&plain(service), 400)) }
            }
            section { h2 { (SERVICE_HOURS.title) } (table(context, &hours, Place::Main)) }
            (card(context, &prices, Place::Beside(None)))
        },
        is_of_one: true,
    })
}
