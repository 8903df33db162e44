//! What all pages share: head, navigation, filters, footer; and pages without figures.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::super::problem::Problem;
use super::super::respond::Who;
use super::super::scope::STICKY;
use super::{Context, Shown, navigation};
use crate::display::short;
use crate::weekly::HATCH;

/// Whether a text is a path of this server and of no other.
pub fn is_own_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && text
            .chars()
            .all(|letter| letter.is_ascii_graphic() && !"\\\"<>".contains(letter))
}

fn document(title: &str, build: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(build) = build { meta name="podledger-build" content=(build); }
                title { (title) " · podledger" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/dashboard.js" defer {}
            }
            body { (body) }
        }
    }
}

/// A page with figures.
pub fn page(context: &Context<'_>, shown: Shown) -> Markup {
    let scope = context.scope;
    let link = |path: &str| {
        if shown.is_of_one {
            let none: Vec<_> = STICKY.iter().map(|key| (*key, None)).collect();
            scope.with(&none).link(path, &[])
        } else {
            scope.link(path, &[])
        }
    };
    let body = html! {
        (PreEscaped(HATCH))
        a.skip href="#main" { "Skip to figures" }
        (top(&link, context.path, context.who))
        (range(context))
        main id="main" tabindex="-1" { (shown.body) }
        footer {
            p {
                "Build " (context.snapshot.build_id) " · days begin at midnight in " (scope.zone()) " · "
                a href="/api/v1/openapi.json" { "API" }
            }
        }
    };
    document(&shown.title, Some(&context.snapshot.key), &body)
}

/// A page that is about no days.
pub fn bare(title: &str, path: &str, who: Who, body: &Markup) -> Markup {
    let body = html! {
        a.skip href="#main" { "Skip to figures" }
        (top(&str::to_owned, path, who))
        main id="main" tabindex="-1" { (body) }
    };
    document(title, None, &body)
}

/// The links on top of a page, each as `link` makes it of a path.
fn top(link: &dyn Fn(&str) -> String, here: &str, who: Who) -> Markup {
    html! {
        div.top role="banner" {
            a.brand href=(link("/")) { (mark()) "podledger" }
            nav aria-label="Pages" {
                @for (path, name) in navigation(who) {
                    a href=(link(path)) aria-current=[(*path == here).then_some("page")] { (name) }
                }
            }
            @if who.is_known {
                form.out method="post" action="/sign-out" { button.quiet type="submit" { "Sign out" } }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" {
            rect x="1" y="2" width="18" height="4" rx="1" fill="var(--total)" {}
            rect x="1" y="8" width="12" height="4" rx="1" fill="var(--idle)" {}
            rect x="1" y="14" width="7" height="4" rx="1" fill="var(--used)" {}
        }
    }
}

/// The days that are shown, those before and after, and filters.
fn range(context: &Context<'_>) -> Markup {
    let scope = context.scope;
    let moved = |by: i32| scope.moved(by).link_same(context.path, &[]);
    let filters: Vec<(&str, &str)> = scope.names().collect();
    html! {
        div.range role="region" aria-label="Days and filters" {
            div.days {
                a.step href=(moved(-1)) aria-label="The days before" { "‹" }
                strong { (scope.title()) }
                a.step href=(moved(1)) aria-label="The days after" { "›" }
            }
            @if !filters.is_empty() {
                ul.chips aria-label="Filters" {
                    @for (key, value) in &filters {
                        @let without = scope.with(&[(key, None)]).link_same(context.path, &[]);
                        li {
                            span.key { (key.replace('_', " ")) } " " (crate::display::cut(&short(value), 40))
                            @if !is_needed(context.path, key) {
                                " " a href=(without) aria-label={ "Without the filter " (key) } { "×" }
                            }
                        }
                    }
                }
            }
            details.filter {
                summary { "Change days and filters" }
                (form(context))
            }
        }
    }
}

/// Whether a page is about what a filter names.
fn is_needed(path: &str, key: &str) -> bool {
    matches!(
        (path, key),
        ("/run", _)
            | ("/team", "team")
            | ("/pipeline", "pipeline")
            | ("/pool", "pool")
            | ("/pod", "pod" | "cluster")
            | ("/machine", "machine" | "cluster")
    )
}

/// Whether a name has nothing in it that acts instead of being read: others are not put where they would be shown as they are.
fn reads_as_it_is(name: &str) -> bool {
    name.is_empty() || crate::display::plain(name) == name
}

fn form(context: &Context<'_>) -> Markup {
    let scope = context.scope;
    let choices = |key: &str| {
        context
            .snapshot
            .choices
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, names)| names.as_slice())
            .unwrap_or_default()
    };
    html! {
        form method="get" action=(context.path) {
            label { "from" input type="date" name="from" value=(scope.first_date) required; }
            label { "to" input type="date" name="to" value=(scope.last_date) required; }
            label {
                "zone"
                input name="zone" value=(scope.zone()) list="zones" autocomplete="off" spellcheck="false";
                datalist id="zones" { @for name in choices("zone") { option value=(name) {} } }
            }
            @for key in STICKY.iter().filter(|key| **key != "cluster" || choices("cluster").len() > 1) {
                @let value = scope.name(key).unwrap_or_default();
                @if reads_as_it_is(value) {
                    label {
                        (key)
                        input name=(key) value=(value) list={ "choices-" (key) } placeholder="all" autocomplete="off" spellcheck="false";
                        datalist id={ "choices-" (key) } {
                            @for name in choices(key).iter().filter(|name| reads_as_it_is(name)) { option value=(name) {} }
                        }
                    }
                } @else {
                    input type="hidden" name=(key) value=(value);
                }
            }
            @for (key, value) in scope.names().filter(|(key, _)| !STICKY.contains(key)) {
                input type="hidden" name=(key) value=(value);
            }
            button type="submit" { "Show" }
        }
    }
}

fn plain(title: &str, body: &Markup) -> Markup {
    plain_of(title, None, body)
}

/// One that waits for another build than it shows.
fn plain_of(title: &str, shows: Option<&str>, body: &Markup) -> Markup {
    let body = html! {
        div.top role="banner" { a.brand href="/" { (mark()) "podledger" } }
        main.narrow id="main" data-shows=[shows] { (body) }
    };
    document(title, None, &body)
}

/// Asks for a token.
pub fn sign_in(next: &str, wrong: Option<&str>) -> Markup {
    plain(
        "Sign in",
        &html! {
            section {
                h1 { "Sign in" }
                @if let Some(wrong) = wrong { p.partial role="alert" { (wrong) } }
                form.sign-in method="post" action="/sign-in" {
                    input type="hidden" name="next" value=(next);
                    label {
                        "Token"
                        input type="password" name="token" autocomplete="current-password" required autofocus;
                    }
                    button type="submit" { "Sign in" }
                }
                p.note { "A token is made with " code { "podledger token create NAME" } " beside the ledger, and shown once." }
            }
        },
    )
}

/// Says what is wrong.
pub fn problem(problem: &Problem) -> Markup {
    plain(
        problem.title(),
        &html! {
            section {
                h1 { (problem.title()) }
                p { (problem.detail) "." }
                p { a href="/" { "To the overview" } }
            }
        },
    )
}

/// Says what to do first, as long as nothing is built, or nothing is in the build of this key.
pub fn first_visit(build: Option<&str>) -> Markup {
    plain_of(
        "Welcome",
        Some(build.unwrap_or_default()),
        &html! {
            section {
                h1 { "Nothing has been metered yet" }
                p { "This page shows what a platform cost, who drove it, what was wasted and what to do. It needs a ledger with at least one build." }
                h2 { "Look at a cluster once" }
                (command("kubectl get pods,nodes,namespaces,jobs,cronjobs -A -o json | podledger import kubernetes -\npodledger build"))
                h2 { "Watch it" }
                (command("podledger serve"))
                h2 { "Or see what it looks like" }
                (command("podledger demo"))
                p.note { "The page shows figures as soon as something is built; without a script, load it again." }
            }
        },
    )
}

/// Lines to copy, such as YAML: names in them are plain, and lines stay lines.
pub fn snippet(text: &str) -> Markup {
    let plain = |line: &str| {
        if line.is_empty() {
            String::new()
        } else {
            crate::display::plain(line)
        }
    };
    let lines: Vec<String> = text.lines().map(plain).collect();
    command(&lines.join("\n"))
}

/// A command to copy.
pub fn command(text: &str) -> Markup {
    html! {
        div.command {
            pre tabindex="0" { code { (text) } }
            button.copy type="button" hidden { "Copy" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_no_other_server() {
        for own in ["/", "/team?team=a%20b", "/run?run=x&pipeline=y"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x",
            "/\t/evil.example",
            "javascript:alert(1)",
        ] {
            assert!(!is_own_path(foreign), "{foreign:?}");
        }
    }
}
