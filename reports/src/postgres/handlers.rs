//! What a client's messages come to.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{Sink, SinkExt as _, stream};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_execution_response,
    send_partial_query_response, send_query_response, send_ready_for_query,
};
use pgwire::api::results::{
    DescribePortalResponse, DescribeResponse as _, DescribeStatementResponse, FieldFormat, FieldInfo,
    QueryResponse, Response, Tag,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::DataRow;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Sync as SyncMessage,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::ParameterStatus;
use podledger_sql::parameters::Parameter;

use super::copy::{self, Writing};
use super::parameter::parameter;
use super::session::{Outcome, Running, Session, error, shown_field};
use super::statement::{Statement, split};
use super::types::{format_at, type_of_kind};

/// A statement that was prepared.
#[derive(Debug, Clone)]
pub struct Prepared {
    statement: Statement,
}

/// Reads statements; that they can run is seen when they are described or run.
pub struct Parser;

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        match split(sql).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Prepared {
                statement: read(one)?,
            })),
            _ => Err(error("42601", "a prepared statement is one statement")),
        }
    }

    fn get_parameter_types(&self, _: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, _: &Self::Statement, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(Vec::new())
    }
}

fn read(text: &str) -> PgWireResult<Statement> {
    Statement::read(text).map_err(|reason| error("42601", reason))
}

/// Answers a client's messages.
pub struct Handlers {
    session: Arc<Session>,
    /// Queries that run since their columns were asked, by portal.
    begun: Mutex<HashMap<String, Running>>,
}

impl Handlers {
    pub fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            begun: Mutex::default(),
        }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parameters(portal: &Portal<Prepared>) -> PgWireResult<Vec<Parameter>> {
        let declared = &portal.statement.parameter_types;
        let values = portal.parameters.iter().enumerate();
        values
            .map(|(index, value)| {
                let is_binary = format_at(&portal.parameter_format, index) == FieldFormat::Binary;
                let kind = declared.get(index).and_then(Option::as_ref);
                parameter(value.as_ref(), kind, is_binary)
                    .map_err(|reason| error("22P02", format!("parameter ${}: {reason}", index + 1)))
            })
            .collect()
    }

    /// Runs a statement whose rows are told as a file.
    async fn copy<C>(
        &self,
        client: &mut C,
        statement: &Statement,
        writing: &Writing,
        parameters: Vec<Parameter>,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let transaction = client.transaction_status();
        match self.session.run(statement, parameters, transaction).await? {
            Outcome::Rows(running) => copy::send(client, running, writing).await,
            _ => Ok(()),
        }
    }

    /// What an outcome is to pgwire.
    fn response<C>(outcome: Outcome, format: Format, client: &mut C) -> (Response, Option<ParameterStatus>)
    where
        C: ClientInfo,
    {
        let mut status = None;
        let response = match outcome {
            Outcome::Empty => Response::EmptyQuery,
            Outcome::Rows(running) => {
                let fields = Arc::new(running.fields(&format));
                let rows = stream::unfold((running, format), |(mut running, format)| async move {
                    let row = running.next(&format).await?;
                    Some((row, (running, format)))
                });
                Response::Query(QueryResponse::new(fields, rows))
            }
            Outcome::Fetched(cursor, rows) => {
                // It is locked by nobody else: a session does one thing at a time.
                let fields = match cursor.try_lock() {
                    Ok(running) => running.fields(&format),
                    Err(_) => Vec::new(),
                };
                let rows = rows.unwrap_or(u64::MAX);
                let rows = stream::unfold(
                    (cursor, format, rows, true),
                    |(cursor, format, left, is_first)| async move {
                        if left == 0 {
                            return None;
                        }
                        let row = {
                            let mut running = cursor.lock().await;
                            if is_first {
                                running.forget_cancels();
                            }
                            running.next(&format).await?
                        };
                        Some((row, (cursor, format, left - 1, false)))
                    },
                );
                let mut response = QueryResponse::new(Arc::new(fields), rows);
                response.set_command_tag("FETCH");
                Response::Query(response)
            }
            Outcome::Shown { name, value } => {
                let mut row = bytes::BytesMut::new();
                bytes::BufMut::put_i32(&mut row, i32::try_from(value.len()).unwrap_or(i32::MAX));
                row.extend_from_slice(value.as_bytes());
                let row = Ok(DataRow::new(row, 1));
                let mut response =
                    QueryResponse::new(Arc::new(vec![shown_field(&name)]), stream::iter([row]));
                response.set_command_tag("SHOW");
                Response::Query(response)
            }
            Outcome::Done { tag, reported } => {
                if let Some((name, value)) = reported {
                    client.metadata_mut().insert(name.clone(), value.clone());
                    status = Some(ParameterStatus::new(name, value));
                }
                Response::Execution(Tag::new(tag))
            }
            Outcome::Began => Response::TransactionStart(Tag::new("BEGIN")),
            Outcome::Ended(tag) => Response::TransactionEnd(Tag::new(tag)),
        };
        (response, status)
    }
}

#[async_trait]
impl SimpleQueryHandler for Handlers {
    /// Statement by statement: the next begins when the rows of the one before were sent.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statements = split(&query.query);
        if statements.is_empty() {
            client
                .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await?;
        }
        for text in statements {
            let statement = read(text)?;
            if let Statement::Copy { writing, .. } = &statement {
                self.copy(client, &statement, writing, Vec::new()).await?;
                continue;
            }
            for response in SimpleQueryHandler::do_query(self, client, text).await? {
                respond(client, response, true).await?;
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let outcome = self
            .session
            .run(&read(query)?, Vec::new(), client.transaction_status())
            .await?;
        let (response, status) = Self::response(outcome, Format::UnifiedText, client);
        if let Some(status) = status {
            client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(vec![response])
    }
}

/// Sends what a statement came to, and keeps account of the transaction.
async fn respond<C>(client: &mut C, response: Response, describes: bool) -> PgWireResult<()>
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::PortalStore: PortalStore,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let status = client.transaction_status();
    match response {
        Response::Query(rows) => send_query_response(client, rows, describes).await,
        Response::EmptyQuery => Ok(client
            .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
            .await?),
        Response::TransactionStart(tag) => {
            client.set_transaction_status(status.to_in_transaction_state());
            send_execution_response(client, tag).await
        }
        Response::TransactionEnd(tag) => {
            client.set_transaction_status(TransactionStatus::Idle);
            client.portal_store().clear_portals();
            send_execution_response(client, tag).await
        }
        Response::Execution(tag) => send_execution_response(client, tag).await,
        _ => Err(error("0A000", "rows come from here, and go nowhere else")),
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handlers {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(Parser)
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let formats = message.parameter_format_codes.len();
        if formats > 1 && formats != message.parameters.len() {
            return Err(error("08P01", "there are other formats than parameters"));
        }
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal_name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        self.begun().remove(portal_name);
        match client.portal_store().get_statement(name) {
            Some(Entry::Value(statement)) => {
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) => client.portal_store().put_empty_portal(portal_name),
            None => return Err(PgWireError::StatementNotFound(name.to_owned())),
        }
        client
            .feed(PgWireBackendMessage::BindComplete(BindComplete::new()))
            .await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client
                    .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                    .await?;
                client.set_state(PgWireConnectionState::ReadyForQuery);
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let state = portal.state();
        let mut state = state.lock().await;
        let statement = &portal.statement.statement.statement;
        if matches!(*state, PortalExecutionState::Initial)
            && let Statement::Copy { writing, .. } = statement
        {
            self.copy(client, statement, writing, Self::parameters(&portal)?)
                .await?;
            *state = PortalExecutionState::Finished;
            client.set_state(PgWireConnectionState::ReadyForQuery);
            return Ok(());
        }
        if matches!(*state, PortalExecutionState::Initial) {
            match ExtendedQueryHandler::do_query(self, client, &portal, most).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                other => {
                    respond(client, other, false).await?;
                    *state = PortalExecutionState::Finished;
                    client.set_state(PgWireConnectionState::ReadyForQuery);
                    return Ok(());
                }
            }
        }
        let has_more = match &mut *state {
            PortalExecutionState::Suspended(rows) => send_partial_query_response(client, rows, most).await?,
            _ => {
                send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?;
                false
            }
        };
        if !has_more {
            *state = PortalExecutionState::Finished;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Outside of a transaction, one message to the next sync is one.
        if client.transaction_status() == TransactionStatus::Idle {
            client.portal_store().clear_portals();
            self.begun().clear();
        }
        let ready = ReadyForQuery::new(client.transaction_status());
        client.send(PgWireBackendMessage::ReadyForQuery(ready)).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
        } else {
            client.portal_store().rm_portal(name);
            self.begun().remove(name);
        }
        client
            .feed(PgWireBackendMessage::CloseComplete(CloseComplete::new()))
            .await?;
        Ok(())
    }

    /// A cursor that was declared is a portal too: psycopg asks what it has so.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(cursor) = message.name.clone()
            && client.portal_store().get_portal(&cursor).is_none()
        {
            let fetch = Statement::Fetch { cursor, rows: None };
            if let (_, Some(fields)) = self.session.describe(&fetch, Vec::new()).await? {
                return send_describe_response(client, &DescribePortalResponse::new(fields)).await;
            }
        }
        self._on_describe(client, message).await
    }

    async fn do_describe_statement<C>(
        &self,
        _: &mut C,
        target: &StoredStatement<Self::Statement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let declared = &target.parameter_types;
        let values: PgWireResult<Vec<Parameter>> = declared
            .iter()
            .map(|kind| parameter(None, kind.as_ref(), false).map_err(|reason| error("22P02", reason)))
            .collect();
        let (said, fields) = self
            .session
            .describe(&target.statement.statement, values?)
            .await?;
        let types = (0..said.len().max(declared.len()))
            .map(|index| {
                let declared = declared.get(index).cloned().flatten();
                let said = said.get(index).copied().flatten().map(type_of_kind);
                declared.or(said).unwrap_or(Type::TEXT)
            })
            .collect();
        Ok(DescribeStatementResponse::new(types, fields.unwrap_or_default()))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        target: &Portal<Self::Statement>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &target.statement.statement.statement;
        if !matches!(statement, Statement::Query(_)) {
            let (_, fields) = self.session.describe(statement, Vec::new()).await?;
            return Ok(match fields {
                Some(fields) => DescribePortalResponse::new(fields),
                None => DescribePortalResponse::no_data(),
            });
        }
        // It runs from now on: who asks for columns asks for rows next.
        let outcome = self
            .session
            .run(statement, Self::parameters(target)?, client.transaction_status())
            .await?;
        let Outcome::Rows(running) = outcome else {
            return Ok(DescribePortalResponse::no_data());
        };
        let fields = running.fields(&target.result_column_format);
        self.begun().insert(target.name.clone(), running);
        Ok(DescribePortalResponse::new(fields))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let begun = self.begun().remove(&portal.name);
        let outcome = match begun {
            Some(running) => Outcome::Rows(running),
            None => {
                let statement = &portal.statement.statement.statement;
                let parameters = Self::parameters(portal)?;
                self.session
                    .run(statement, parameters, client.transaction_status())
                    .await?
            }
        };
        let (response, status) = Self::response(outcome, portal.result_column_format.clone(), client);
        if let Some(status) = status {
            client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(response)
    }
}
