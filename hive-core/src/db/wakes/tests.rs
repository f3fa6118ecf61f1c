use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Away, Wakeups};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_wake_up_between_looking_and_waiting_is_not_lost() {
    let wakeups = Wakeups::default();
    let mut wakes = wakeups.listen("work");
    wakeups.notify("work");
    wakeups.notify("work");
    assert!(wakes.wait(LONG).await);
    // Two that came together are one.
    assert!(!wakes.wait(Duration::ZERO).await);
}

#[tokio::test]
async fn only_who_listens_on_the_channel_is_woken_and_each_of_them() {
    let wakeups = Wakeups::default();
    let mut listening = [wakeups.listen("work"), wakeups.listen("work"), wakeups.listen("other")];
    wakeups.notify("work");
    wakeups.notify("nobody's");
    let mut woken = Vec::new();
    for wakes in &mut listening {
        woken.push(wakes.wait(Duration::ZERO).await);
    }
    assert_eq!(woken, [true, true, false]);
}

#[tokio::test]
async fn what_came_before_it_listened_wakes_nobody() {
    let wakeups = Wakeups::default();
    wakeups.notify("work");
    assert!(!wakeups.listen("work").wait(Duration::ZERO).await);
}

#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Away for Told {
    fn listen(&self, channel: &'static str) {
        self.0.lock().unwrap().push(format!("listen {channel}"));
    }

    fn notify(&self, channel: &'static str) {
        self.0.lock().unwrap().push(format!("notify {channel}"));
    }
}

#[tokio::test]
async fn other_processes_hear_of_notifications_but_not_of_what_they_told() {
    let wakeups = Wakeups::default();
    let _early = wakeups.listen("early");
    let told = Told::default();
    wakeups.reach(Box::new(told.clone()));
    let mut wakes = wakeups.listen("work");
    wakeups.notify("work");
    wakeups.wake("work");
    assert!(wakes.wait(LONG).await);
    assert_eq!(*told.0.lock().unwrap(), ["listen early", "listen work", "notify work"]);
}
