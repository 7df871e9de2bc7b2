//! Machines that commands make: every verb, every failure, one at a time, and what a restart goes on with.

use std::time::{Duration, Instant};

use portico::base::clock::Clock;
use portico::cli::dev;
use portico::config::Config;
use portico::model::Verb;
use serde_json::{Value, json};

use crate::support::{Api, Commands, Connection, FakeSandbox, Portico, config_in, eventually};

fn responding(port: u16) -> String {
    format!("printf '{{\"upstream\":\"127.0.0.1:{port}\"}}'")
}

async fn with(commands: &Commands) -> Portico {
    Portico::start_with(|config| commands.adjust(config)).await
}

async fn create(api: &Api, slug: &str) -> Value {
    api.ok("POST", "/sandboxes", Some(json!({"slug": slug}))).await
}

fn id(sandbox: &Value) -> String {
    sandbox["id"].as_str().unwrap().to_owned()
}

async fn is_in(api: &Api, id: &str, state: &str) -> Value {
    let mut seen = Value::Null;
    eventually(state, async || {
        seen = api.ok("GET", &format!("/sandboxes/{id}"), None).await;
        seen["state"] == state
    })
    .await;
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_lives_from_create_to_destroy_by_commands() {
    let app = FakeSandbox::well_behaved().await;
    let commands = Commands::new(&format!("[ -e slow ] && sleep 0.4\n{}", responding(app.port())));
    std::fs::write(commands.file("slow"), "").unwrap();
    let portico = with(&commands).await;
    let order = json!({"slug": "vm", "size": "small", "env": {"A": "1"}, "metadata": {"plan": "pro"},
                       "persistent": true});
    let made = portico.api.call("POST", "/sandboxes", Some(order)).await;
    assert_eq!(made.status, 201);
    let made = made.json()["data"].clone();
    assert_eq!(
        (&made["state"], &made["driver"], &made["ready"]),
        (&json!("creating"), &json!("command"), &json!(false))
    );
    let id = id(&made);
    let path = format!("/sandboxes/{id}");
    let stream = portico.api.call("GET", &format!("{path}/readiness/stream"), None).await;
    assert!(stream.text().starts_with("event: ready"), "{}", stream.text());
    let running = is_in(&portico.api, &id, "running").await;
    assert_eq!(running["upstream"], format!("127.0.0.1:{}", app.port()));
    let asked = &commands.asked()[0];
    assert_eq!(asked["verb"], "create");
    for (name, value) in [
        ("slug", json!("vm")),
        ("cpu_count", json!(2)),
        ("env", json!({"A": "1"})),
        ("metadata", json!({"plan": "pro"})),
        ("template_id", json!("miosa-sandbox")),
    ] {
        assert_eq!(asked["sandbox"][name], value, "{name}");
    }
    portico.api.publish(&id, 3000, json!({})).await;
    let get = "GET / HTTP/1.1\r\nHost: 3000-vm.sandbox.localhost\r\n\r\n";
    assert_eq!(portico.visit(get).await.text(), "hello");

    let pausing = portico.api.ok("POST", &format!("{path}/pause"), None).await;
    assert_eq!(pausing["state"], "pausing");
    assert_eq!(portico.visit(get).await.field("x-preview-error"), Some("sandbox_paused"));
    is_in(&portico.api, &id, "paused").await;
    let resuming = portico.api.ok("POST", &format!("{path}/resume"), None).await;
    assert_eq!(resuming["state"], "resuming");
    let again = is_in(&portico.api, &id, "running").await;
    assert!(again["address_generation"].as_u64() > running["address_generation"].as_u64());
    assert_eq!(portico.visit(get).await.text(), "hello");
    let stopped = portico.api.ok("POST", &format!("{path}/stop"), None).await;
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(portico.visit(get).await.status, 503);
    commands.has_verbs(&id, &["create", "pause", "start", "stop"]).await;
    let refused = portico.api.call("POST", &format!("{path}/pause"), None).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("RESOURCE_STATE")));
    let gone = portico.api.ok("DELETE", &path, None).await;
    assert_eq!(gone["state"], "destroyed");
    commands.has_verbs(&id, &["create", "pause", "start", "stop", "destroy"]).await;
    let refused = portico.api.call("POST", &format!("{path}/resume"), None).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("RESOURCE_STATE")));
    let done = ["create", "destroy"]
        .map(|verb| format!("portico_commands_total{{verb=\"{verb}\",result=\"done\"}} 1"));
    eventually("the metrics", async || {
        let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        let text = Connection::open(portico.running.admin).await.roundtrip(get).await.text();
        done.iter().all(|line| text.contains(line))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_an_error_with_a_reason_and_what_stderr_said_stays_here() {
    let body = "echo SECRET >&2\ncase $question in\n\
        *'\"slug\":\"code\"'*) exit 3;;\n\
        *'\"slug\":\"json\"'*) echo nonsense;;\n\
        *'\"slug\":\"list\"'*) echo '[]';;\n\
        *'\"slug\":\"silent\"'*) ;;\n\
        *'\"slug\":\"elsewhere\"'*) echo '{\"upstream\":\"169.254.169.254\"}';;\n\
        *'\"slug\":\"odd\"'*) echo '{\"upstream\":\"http://x\"}';;\n\
        *'\"slug\":\"much\"'*) head -c 200000 /dev/zero;;\n\
        *'\"slug\":\"slow\"'*) sleep 60 & echo $! > child; wait;;\nesac";
    let commands = Commands::new(body);
    let short = |config: &mut Config| {
        commands.adjust(config);
        config.compute.as_mut().unwrap().deadlines[Verb::Create.place()] =
            Duration::from_millis(700);
    };
    let portico = Portico::start_with(short).await;
    for (slug, reason) in [
        ("code", "The create command failed with exit code 3."),
        ("json", "The create command did not write a JSON object."),
        ("list", "The create command did not write a JSON object."),
        ("silent", "The create command returned no address."),
        (
            "elsewhere",
            "The create command returned an address outside the permitted networks, or a forbidden port.",
        ),
        ("odd", "The create command returned an address that cannot be parsed."),
        ("much", "The create command wrote more than 64 KiB."),
        ("slow", "The create command timed out."),
    ] {
        let made = create(&portico.api, slug).await;
        let failed = is_in(&portico.api, &id(&made), "error").await;
        assert_eq!(failed["error"], reason, "{slug}");
        assert!(!failed.to_string().contains("SECRET"));
    }
    let child = std::fs::read_to_string(commands.file("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    eventually("the child's end", async || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
    // What never came about is created once its owner tries again.
    let found = portico.api.ok("GET", "/sandboxes/by-name/code", None).await;
    let again = portico.api.ok("POST", &format!("/sandboxes/{}/resume", id(&found)), None).await;
    assert_eq!(again["state"], "creating");
    commands.has_verbs(&id(&found), &["create", "create"]).await;
    // The wait of a create ends with its failure.
    let since = Instant::now();
    let waited =
        portico.api.ok("POST", "/sandboxes?wait=30", Some(json!({"slug": "code-2"}))).await;
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(waited["state"], "error", "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandboxs_commands_come_one_after_the_other_and_the_last_wish_counts() {
    let app = FakeSandbox::well_behaved().await;
    let body = format!(
        "mkdir $id.busy || echo $verb >> clash\nsleep 0.3\nrmdir $id.busy\n{}",
        responding(app.port())
    );
    let commands = Commands::new(&body);
    let portico = with(&commands).await;
    let made = create(&portico.api, "one").await;
    let one = id(&made);
    commands.has_verbs(&one, &["create"]).await;
    // While it is being created, it is stopped, resumed and destroyed: only the last of these is left to do.
    let path = format!("/sandboxes/{one}");
    for way in ["stop", "resume"] {
        portico.api.ok("POST", &format!("{path}/{way}"), None).await;
    }
    portico.api.ok("DELETE", &path, None).await;
    commands.has_verbs(&one, &["create", "destroy"]).await;
    // Others run beside it.
    let since = Instant::now();
    let mut all = Vec::new();
    for n in 0..8 {
        all.push(id(&create(&portico.api, &format!("n{n}")).await));
    }
    for one in &all {
        is_in(&portico.api, one, "running").await;
    }
    println!("eight creates of 0.3 s took {:?}", since.elapsed());
    assert!(!commands.file("clash").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_that_fails_is_tried_again_until_it_succeeds() {
    let body = "[ $verb = destroy ] && { echo x >> tries; [ $(wc -l < tries) -ge 2 ] || exit 1; }\necho '{\"upstream\":\"127.0.0.1\"}'";
    let commands = Commands::new(body);
    let portico = with(&commands).await;
    let made = create(&portico.api, "stubborn").await;
    is_in(&portico.api, &id(&made), "running").await;
    portico.api.ok("DELETE", &format!("/sandboxes/{}", id(&made)), None).await;
    commands.has_verbs(&id(&made), &["create", "destroy", "destroy"]).await;
    assert_eq!(commands.asked().last().unwrap()["attempt"], 2);
    let shown = portico.api.ok("GET", &format!("/sandboxes/{}", id(&made)), None).await;
    assert_eq!(shown["state"], "destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_when_the_process_ended_is_done_after_the_next_start() {
    let app = FakeSandbox::well_behaved().await;
    // The first run never ends by itself.
    let body = format!(
        "[ -e again ] || {{ touch again; sleep 300 & echo $! > child; wait; }}\n{}",
        responding(app.port())
    );
    let commands = Commands::new(&body);
    let data = tempfile::tempdir().unwrap();
    let config = || {
        let mut config = config_in(data.path());
        commands.adjust(&mut config);
        config
    };
    let first = dev::start(config(), Clock::system()).await.unwrap();
    let made = create(&Api::of(&first), "half-made").await;
    eventually("the first run", async || commands.file("child").exists()).await;
    first.running.stop().await;
    let child = std::fs::read_to_string(commands.file("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    eventually("the child's end", async || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
    let second = dev::start(config(), Clock::system()).await.unwrap();
    is_in(&Api::of(&second), &id(&made), "running").await;
    assert_eq!(commands.verbs(&id(&made)), ["create", "create"]);
    second.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_the_documentation_runs_real_servers() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/local_machine.py");
    let machines = folder.path().display().to_string();
    let adjust = |config: &mut Config| {
        Commands::new("").adjust(config);
        let compute = config.compute.as_mut().unwrap();
        let argv = ["/usr/bin/env", "python3", script, &machines].map(str::to_owned).to_vec();
        compute.commands =
            std::array::from_fn(|place| (place != Verb::Pause.place()).then(|| argv.clone()));
    };
    let portico = Portico::start_with(adjust).await;
    let made = portico.api.ok("POST", "/sandboxes?wait=30", Some(json!({"slug": "real"}))).await;
    assert_eq!((&made["state"], &made["error"]), (&json!("running"), &Value::Null));
    let (id, path) = (id(&made), format!("/sandboxes/{}", id(&made)));
    portico.api.publish(&id, 3000, json!({})).await;
    let get = "GET / HTTP/1.1\r\nHost: 3000-real.sandbox.localhost\r\n\r\n";
    assert_eq!(portico.visit(get).await.text(), "<h1>real</h1>");
    let pid = || std::fs::read_to_string(folder.path().join(&id).join("pid")).unwrap();
    let first = pid();
    portico.api.ok("POST", &format!("{path}/pause"), None).await;
    is_in(&portico.api, &id, "paused").await;
    portico.api.ok("POST", &format!("{path}/resume"), None).await;
    is_in(&portico.api, &id, "running").await;
    assert_ne!(pid(), first, "it was stopped, for want of a pause command, and started");
    assert_eq!(portico.visit(get).await.text(), "<h1>real</h1>");
    portico.api.ok("DELETE", &path, None).await;
    eventually("its end", async || !folder.path().join(&id).exists()).await;
}
