//! Ports of local procedure calls: `_ALPC_PORT` (from Vista) and `_LPCP_PORT_OBJECT` before.

use super::{Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::value::{Absent, Value};

layout! {
    /// `_ALPC_PORT`.
    pub struct AlpcPort: "_ALPC_PORT" {
        /// `CommunicationInfo`.
        communication: Va = "CommunicationInfo",
        /// `OwnerProcess`.
        owner: Va = "OwnerProcess",
    }
}
layout! {
    /// `_ALPC_COMMUNICATION_INFO`: the three ports of a connection.
    pub struct Communication: "_ALPC_COMMUNICATION_INFO" {
        /// `ConnectionPort`: the one with the name.
        connection: Va = "ConnectionPort",
        /// `ServerCommunicationPort`.
        server: Va = "ServerCommunicationPort",
        /// `ClientCommunicationPort`.
        client: Va = "ClientCommunicationPort",
    }
}
layout! {
    /// `_LPCP_PORT_OBJECT`.
    pub struct LpcPort: "_LPCP_PORT_OBJECT" {
        /// `ConnectionPort`.
        connection: Va = "ConnectionPort",
        /// `ConnectedPort`.
        connected: Va = "ConnectedPort",
        /// `Creator.UniqueProcess`.
        creator: u64 = "Creator.UniqueProcess",
    }
}

/// Which end it is, whose, and by what name the connection was made.
pub(super) fn facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let port = objects.kernel.layout::<AlpcPort>().map_err(|_| Absent::NoSymbol)?;
    let info = objects.kernel.layout::<Communication>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(port, body);
    // A port that is not connected to anything has no such structure.
    let communication = match v.communication().and_then(Va::not_null) {
        Err(Absent::NotApplicable) => return Ok(Vec::new()),
        communication => communication?,
    };
    let c = objects.space.view(info, communication);
    let (connection, server, client) =
        (c.connection().and_then(Va::not_null), c.server().and_then(Va::not_null), c.client().and_then(Va::not_null));
    let end = [(connection, "connection"), (server, "server"), (client, "client")];
    let end = end.iter().find(|(at, _)| *at == Ok(body)).map(|(_, name)| *name).ok_or(Absent::Implausible);
    let name = connection.and_then(|at| {
        let object = objects.with_body(at);
        objects.path(&object)
    });
    let mut whose = |port_at: Value<Va>| {
        let owner = objects.space.view(port, port_at?).owner().and_then(Va::not_null)?;
        objects.owner(owner).pid
    };
    let own = whose(Ok(body));
    let (server_pid, client_pid) = (whose(server.or(connection)), whose(client));
    Ok(vec![
        ("end", end.into()),
        ("connection_port", name.into()),
        ("owner_pid", own.into()),
        ("server_pid", server_pid.into()),
        ("client_pid", client_pid.into()),
    ])
}

/// The same of a port up to XP.
pub(super) fn lpc_facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let layout = objects.kernel.layout::<LpcPort>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let name = v.connection().and_then(Va::not_null).and_then(|at| {
        let object = objects.with_body(at);
        objects.path(&object)
    });
    Ok(vec![
        ("connection_port", name.into()),
        ("owner_pid", v.creator().into()),
        ("connected", v.connected().and_then(Va::not_null).into()),
    ])
}
