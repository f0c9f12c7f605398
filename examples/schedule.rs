//! A schedule of a second, its ledger, and what is to come.

use std::time::Duration;

use fastflow_core::{
    Orchestrator, Shutdown,
    pipeline::{Overlap, ScheduleRule},
    schedule::Schedule,
    store::TickQuery,
};

#[tokio::main]
async fn main() -> fastflow_core::Result<()> {
    let flow = Orchestrator::builder("target/schedule").pipelines("examples/pipelines").build().await?;
    flow.start().await?;

    let every = ScheduleRule::IntervalSeconds(std::num::NonZeroU32::MIN);
    let mut greeting = Schedule::new("hello@greeting".parse()?, every);
    greeting.policy.overlap = Overlap::Queue;
    greeting.parameters.insert("who".parse()?, "every second".into());
    let greeting = flow.schedules().put(greeting).await?.schedule.id;
    flow.schedules().put(Schedule::cron("hello@nightly".parse()?, "30 2 * * 1-5")?).await?;

    // Each instant has one row, from the first on; the newest come first.
    let query = TickQuery { schedule: Some(greeting.clone()), ..TickQuery::default() };
    let mut events = flow.events(fastflow_core::store::EventId::default());
    while flow.schedules().ticks(&query).await?.len() < 3 {
        futures::StreamExt::next(&mut events).await.transpose()?;
    }
    for (_, tick) in flow.schedules().ticks(&query).await? {
        anstream::println!("{}  {}", tick.nominal, tick.outcome);
        if let Some(run) = tick.outcome.run() {
            flow.runs().wait(run).await?;
            anstream::println!("{}", flow.runs().explain(run).await?);
        }
    }
    flow.schedules().remove(&greeting).await?;
    for upcoming in flow.schedules().upcoming(Duration::from_hours(7 * 24), 5).await? {
        anstream::println!("{}  {}", upcoming.at, upcoming.schedule);
    }
    flow.shutdown(Shutdown::Detach).await
}
