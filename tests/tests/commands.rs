//! What goes wrong at the start is told in words, with an exit code, and does no harm.

use manzana_tests::console::Console;
use manzana_tests::relay::{City, Ran, manzana, run};
use tokio::net::TcpListener;

/// A failed command's words; it must have failed, in one line, and not in a panic.
fn words(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    let line = ran.err.lines().last().unwrap_or_default();
    assert!(line.starts_with("manzana: "), "{}", ran.err);
    line
}

/// Starts a relay that cannot start.
async fn serve(city: &City) -> Ran {
    let any = "127.0.0.1:0";
    let mut command = city.command("serve");
    command
        .env("MANZANA_SYNC_LISTEN", any)
        .env("MANZANA_CONSOLE_LISTEN", any);
    run(&mut command).await
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let mut city = City::start().await;
    city.stop().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, other, flag) in [
        (
            "MANZANA_SYNC_LISTEN",
            "MANZANA_CONSOLE_LISTEN",
            "--sync-listen",
        ),
        (
            "MANZANA_CONSOLE_LISTEN",
            "MANZANA_SYNC_LISTEN",
            "--console-listen",
        ),
    ] {
        let mut command = city.command("serve");
        let ran = run(command.env(variable, &address).env(other, "127.0.0.1:0")).await;
        let words = words(&ran);
        for part in [address.as_str(), "the port is taken", flag, variable] {
            assert!(words.contains(part), "{words}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_none_or_another_citys_is_told_and_left_alone() {
    let mut city = City::start().await;
    city.stop().await;
    let keys = city.data_dir().join("keys");
    let mut files: Vec<_> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "key"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let good = std::fs::read(&file).unwrap();
        std::fs::write(&file, "no es una llave\n").unwrap();
        let ran = serve(&city).await;
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(words(&ran).contains(name), "{name}: {}", ran.err);
        assert_eq!(
            std::fs::read(&file).unwrap(),
            b"no es una llave\n",
            "{name}"
        );
        std::fs::write(&file, good).unwrap();
    }
    city.restart().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_or_of_something_else_is_told_and_left_alone() {
    let mut city = City::start().await;
    city.stop().await;
    let database = city.database();
    let version = |to: Option<u32>| {
        let db = rusqlite::Connection::open(&database).unwrap();
        if let Some(to) = to {
            db.pragma_update(None, "user_version", to).unwrap();
        }
        db.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
            .unwrap()
    };
    let known = version(None);
    version(Some(9_999));
    let ran = serve(&city).await;
    let said = words(&ran);
    assert!(
        said.contains("9999") && said.contains("city.sqlite"),
        "{said}"
    );
    assert_eq!(version(None), 9_999);
    version(Some(known));
    city.restart().await;
    city.stop().await;

    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    {
        let db = rusqlite::Connection::open(&database).unwrap();
        db.execute_batch("CREATE TABLE recetas (nombre TEXT); INSERT INTO recetas VALUES ('mole')")
            .unwrap();
    }
    let ran = serve(&city).await;
    let said = words(&ran);
    assert!(said.contains("not a manzana database"), "{said}");
    let db = rusqlite::Connection::open(&database).unwrap();
    let kept: String = db
        .query_row("SELECT nombre FROM recetas", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "mole");
    drop(db);

    std::fs::write(
        &database,
        "esto no es una base de datos, es una carta\n".repeat(100),
    )
    .unwrap();
    let ran = serve(&city).await;
    assert!(words(&ran).contains("city.sqlite"), "{}", ran.err);
}

#[tokio::test]
async fn a_second_relay_on_the_same_city_does_not_start_and_the_first_goes_on() {
    let mut city = City::start().await;
    city.user("lupita", "supervisor").await;
    let ran = serve(&city).await;
    assert!(
        words(&ran).contains("another relay serves the city"),
        "{}",
        ran.err
    );
    assert!(city.is_up());
    let console = Console::sign_in(&city, "lupita").await;
    assert!(console.petitions().await.is_empty());
}

#[tokio::test]
async fn a_relay_asked_to_stop_ends_well_and_soon() {
    let mut city = City::start().await;
    city.user("lupita", "supervisor").await;
    let console = Console::sign_in(&city, "lupita").await;
    let _stream = console.events().await;
    let begun = std::time::Instant::now();
    assert_eq!(city.stop().await, Some(0));
    assert!(begun.elapsed().as_secs() < 9, "{:?}", begun.elapsed());
    city.restart().await;
}

#[tokio::test]
async fn mistakes_of_the_administrator_are_told() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "user",
            &["add", "ana", "--role", "crew", "--display", "Ana"],
            "ana is taken",
        ),
        (
            "user",
            &["add", "eva", "--role", "alcaldesa", "--display", "Eva"],
            "no such role",
        ),
        (
            "invite",
            &[
                "--user",
                "nadie",
                "--scope",
                "city",
                "--relay",
                "https://127.0.0.1:1",
            ],
            "no user nadie",
        ),
        (
            "invite",
            &[
                "--user",
                "ana",
                "--scope",
                "city",
                "--relay",
                "http://127.0.0.1:1",
            ],
            "https://host:port",
        ),
        ("revoke", &["00000000000000000000000000"], "no device"),
        ("catalog", &["/no/such/file.json"], "/no/such/file.json"),
    ];
    for (name, args, part) in cases {
        let ran = run(city.command(name).args(*args)).await;
        assert!(words(&ran).contains(part), "{name} {args:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn a_phones_mistakes_are_told_in_spanish_with_a_code_for_programs() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let home = city.path("phone");
    let phone = async |args: &[&str]| {
        let mut command = manzana();
        command
            .arg("phone")
            .arg("--home")
            .arg(&home)
            .arg("--json")
            .args(args);
        let ran = run(&mut command).await;
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let error = said["error"].clone();
        assert!(
            error["text"].as_str().is_some_and(|text| !text.is_empty()),
            "{ran:?}"
        );
        (
            ran.code,
            error["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let code = |code: i32, name: &str| (Some(code), name.to_owned());
    assert_eq!(phone(&["list"]).await, code(1, "not_enrolled"));
    assert_eq!(
        phone(&["enrol", "manzana:1:nada"]).await,
        code(1, "invitation")
    );
    // A root that is not the city's: what answers there is not believed.
    let mut other = City::start().await;
    other.user("ana", "block_captain").await;
    let foreign = other.invite_by(city.sync(), "ana", &["block:7"]).await;
    assert_eq!(phone(&["enrol", &foreign]).await, code(1, "untrusted"));
    let invitation = city.invite("ana", &["block:7"]).await;
    let mut command = manzana();
    command
        .arg("phone")
        .arg("--home")
        .arg(&home)
        .args(["enrol", &invitation]);
    assert_eq!(run(&mut command).await.code, Some(0));
    assert_eq!(
        phone(&["enrol", &invitation]).await,
        code(1, "already_enrolled")
    );
    assert_eq!(phone(&["show", "SIAC-000009"]).await, code(1, "not_found"));
    assert_eq!(other.stop().await, Some(0));
    let used = manzana()
        .args(["phone", "--json", "enrol", &invitation])
        .env("MANZANA_HOME", city.path("another"))
        .output()
        .await
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&used.stdout).unwrap();
    assert_eq!(said["error"]["code"], "unauthorised");
}

#[tokio::test]
async fn help_tells_the_first_steps_and_shells_complete_every_command() {
    let help = run(manzana().arg("--help")).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for step in ["user add", "serve", "invite", "enrol", "check"] {
        assert!(help.out.contains(step), "{step}: {}", help.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(manzana().args(["completions", shell])).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            ran.out.contains("catalog") && ran.out.contains("check"),
            "{shell}"
        );
    }
}
