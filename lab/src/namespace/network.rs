//! The lab's switches and cables: bridges and veth pairs in a network namespace of the lab's own.
//!
//! Takes names and namespaces, gives links. May touch: links of the lab's namespace and of its nodes'. The host's
//! network sees none of it. The namespace, and with it every link, is gone when its last holder is.

use super::enter::{in_network, new_network};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Name of every node's link, on the inside.
pub(crate) const NODE_LINK: &str = "eth0";
/// No request takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lab's namespace.
pub(crate) struct Switches {
    namespace: OwnedFd,
}

impl Switches {
    /// A namespace with one switch, number 0.
    pub(crate) fn new() -> io::Result<Self> {
        let switches = Self { namespace: new_network()? };
        switches.add_switch(0)?;
        Ok(switches)
    }

    /// Adds a switch; one that is there is well.
    pub(crate) fn add_switch(&self, number: usize) -> io::Result<()> {
        let name = switch(number);
        self.ask(async move |handle| {
            if index(&handle, &name).await?.is_none() {
                handle.link().add(LinkBridge::new(&name).up().build()).execute().await?;
            }
            Ok(())
        })
    }

    /// A cable from a switch to a node's namespace, both ends up on the lab's side; an old one of this number is
    /// replaced.
    pub(crate) fn connect(&self, cable: usize, number: usize, node: &OwnedFd, up: bool) -> io::Result<()> {
        self.cut(cable)?;
        let (name, to) = (cable_name(cable), switch(number));
        let inside = node.as_raw_fd();
        self.ask(async move |handle| {
            let end = LinkMessageBuilder::<LinkUnspec>::new()
                .name(NODE_LINK.to_owned())
                .setns_by_fd(inside)
                .build();
            let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
                .name(name.clone())
                .set_info_data(InfoData::Veth(InfoVeth::Peer(end)))
                .build();
            handle.link().add(pair).execute().await?;
            let bridge = index(&handle, &to).await?.ok_or(rtnetlink::Error::RequestFailed)?;
            let mut message = LinkUnspec::new_with_name(&name).controller(bridge);
            if up {
                message = message.up();
            }
            handle.link().set(message.build()).execute().await
        })
    }

    /// Takes a cable away.
    pub(crate) fn cut(&self, cable: usize) -> io::Result<()> {
        let name = cable_name(cable);
        self.ask(async move |handle| match index(&handle, &name).await? {
            Some(index) => handle.link().del(index).execute().await,
            None => Ok(()),
        })
    }

    /// Puts a cable into another switch. The node sees no loss of carrier.
    pub(crate) fn replug(&self, cable: usize, number: usize) -> io::Result<()> {
        let (name, to) = (cable_name(cable), switch(number));
        self.ask(async move |handle| {
            let (Some(_), Some(bridge)) = (index(&handle, &name).await?, index(&handle, &to).await?) else {
                return Ok(());
            };
            let message = LinkUnspec::new_with_name(&name).controller(bridge).build();
            handle.link().set(message).execute().await
        })
    }

    /// Pulls a cable or puts it back: the node loses its carrier.
    pub(crate) fn set_up(&self, cable: usize, up: bool) -> io::Result<()> {
        let name = cable_name(cable);
        self.ask(async move |handle| {
            if index(&handle, &name).await?.is_none() {
                return Ok(());
            }
            let message = LinkUnspec::new_with_name(&name);
            let message = if up { message.up() } else { message.down() };
            handle.link().set(message.build()).execute().await
        })
    }

    fn ask<F>(&self, work: F) -> io::Result<()>
    where
        F: AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error> + Send,
    {
        in_network(&self.namespace, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection()?;
                tokio::spawn(connection);
                match tokio::time::timeout(PATIENCE, work(handle)).await {
                    Ok(done) => done.map_err(io::Error::other),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            })
        })
    }
}

fn switch(number: usize) -> String {
    format!("switch{number}")
}

fn cable_name(cable: usize) -> String {
    format!("cable{cable}")
}

async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, rtnetlink::Error> {
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.try_next().await? {
        if is_named(&link, name) {
            return Ok(Some(link.header.index));
        }
    }
    Ok(None)
}

fn is_named(link: &LinkMessage, name: &str) -> bool {
    use rtnetlink::packet_route::link::LinkAttribute;
    link.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(n) if n == name))
}
