//! The network on which containers reach outwards, and not each other.

use std::collections::{BTreeMap, HashMap};

use bollard::models::NetworkCreateRequest;
use fastflow_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::{connect::Api, convert::network_name, engine::DockerEngine, error::Failure};

/// Whether containers on a bridge reach each other.
const REACH_EACH_OTHER: &str = "com.docker.network.bridge.enable_icc";
/// By which a network of ours is known.
const LABEL: (&str, &str) = ("fastflow.kind", "network");
/// How often others may get in between before it is given up.
const MAX_ROUNDS: usize = 8;

/// Makes the network, if it is not there. Docker lets several hosts make several networks of one name, which then
/// cannot be used by it: the oldest stays, whoever looks. Whether it was not there.
pub(crate) async fn ensure(engine: &DockerEngine, name: &str) -> Result<bool> {
    let what = "a network cannot be set up";
    let name = network_name(name)?;
    let mut was_made = false;
    for _ in 0..MAX_ROUNDS {
        let found = engine.ask(async |api: Api| find(&api, name).await).await;
        let mut found = found.map_err(|failure| failure.into_error(what))?;
        if found.len() > 1 {
            found.sort_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
            let extra = found.split_off(1);
            let removed = engine.change(async |api: Api| remove(&api, &extra).await).await;
            removed.map_err(|failure| failure.into_error(what))?;
            continue;
        }
        if let Some(network) = found.first() {
            return network.check().map(|()| was_made);
        }
        let made =
            engine.change(async |api: Api| Ok(api.docker().create_network(request(name)).await?)).await;
        match made {
            // Whether it is the only one, the next round tells.
            Ok(_) => was_made = true,
            Err(failure) if failure.status() == Some(409) => {}
            Err(failure) => return Err(failure.into_error(what)),
        }
    }
    Err(Error::new(ErrorKind::Unavailable, what).with("cause", "others keep making and removing it"))
}

fn request(name: &str) -> NetworkCreateRequest {
    let (label, value) = LABEL;
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(false),
        attachable: Some(false),
        options: Some(HashMap::from([(REACH_EACH_OTHER.to_owned(), "false".to_owned())])),
        labels: Some(HashMap::from([(label.to_owned(), value.to_owned())])),
        ..NetworkCreateRequest::default()
    }
}

/// All networks of exactly this name. Docker's filter also finds those whose names hold it.
async fn find(api: &Api, name: &str) -> Result<Vec<Network>, Failure> {
    let filters = serde_json::json!({ "name": [name] }).to_string();
    let found: Vec<Network> = api.get("/networks", &[("filters", &filters)]).await?;
    Ok(found.into_iter().filter(|network| network.name == name).collect())
}

/// Removes networks of ours that are too many. One that is in use, or is gone, is left for the next look.
async fn remove(api: &Api, networks: &[Network]) -> Result<(), Failure> {
    for network in networks.iter().filter(|network| network.is_ours()) {
        let removed = api.docker().remove_network(&network.id).await.map_err(Failure::from);
        if let Err(failure) = removed
            && !matches!(failure.status(), Some(403 | 404 | 409))
        {
            return Err(failure);
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    name: String,
    created: String,
    driver: String,
    #[serde(default)]
    internal: bool,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

impl Network {
    fn is_ours(&self) -> bool {
        let (label, value) = LABEL;
        self.labels.as_ref().is_some_and(|labels| labels.get(label).is_some_and(|found| found == value))
    }

    /// Whether it is what it has to be. Somebody else may have made it.
    fn check(&self) -> Result<()> {
        let keeps_apart = self.options.as_ref().and_then(|options| options.get(REACH_EACH_OTHER));
        if self.driver == "bridge" && !self.internal && keeps_apart.is_some_and(|value| value == "false") {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "a network of this name is there, and is another one")
            .with("expected", format_args!("driver bridge, not internal, {REACH_EACH_OTHER}=false"))
            .with("driver", &self.driver))
    }
}
