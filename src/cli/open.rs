//! Opens a link in a browser. The link has a credential in it and command lines can be read by everybody on the machine, so the browser is
//! given an address of ours that leads to the link once, and to nothing a second time.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What opens a link, in the order in which it is tried.
const OPENERS: &[&str] = if cfg!(target_os = "macos") {
    &["open"]
} else {
    &["xdg-open", "wslview", "gnome-open", "x-www-browser", "sensible-browser"]
};
/// How long the browser may take to come.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one request may take, and the most of it that is read, bytes.
const REQUEST: Duration = Duration::from_secs(5);
const HEADERS: usize = 16 << 10;

/// Opens a link in a browser, and returns once it has come for it.
pub(super) async fn open(link: String) -> Result<()> {
    let mut random = [0; 16];
    rand::fill(&mut random).ok().context("the system has no randomness")?;
    let path = format!("/{}", URL_SAFE_NO_PAD.encode(random));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    begin(OPENERS, &address, &path)?;
    let led = async {
        loop {
            let (socket, _) = listener.accept().await?;
            let asked = tokio::time::timeout(REQUEST, lead(socket, &path, &link)).await;
            if matches!(asked, Ok(Ok(true))) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, led).await.context("the browser did not open the link")?
}

/// Starts the first opener that there is.
fn begin(openers: &[&str], address: &SocketAddr, path: &str) -> Result<()> {
    for opener in openers {
        let mut command = Command::new(opener);
        command.arg(format!("http://{address}{path}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn() {
            // Some openers are the browser, and stay.
            std::thread::spawn(move || drop(child.wait()));
            return Ok(());
        }
    }
    bail!("there is none of {}", openers.join(", "))
}

/// Responds to one request; whether it was the one that is waited for.
async fn lead(mut socket: TcpStream, path: &str, link: &str) -> std::io::Result<bool> {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") && read.len() < HEADERS {
        if socket.read_buf(&mut read).await? == 0 {
            return Ok(false);
        }
    }
    let wanted = format!("GET {path} HTTP/1.");
    let is_wanted = read.starts_with(wanted.as_bytes());
    let begin = if is_wanted {
        format!("HTTP/1.1 303 See Other\r\nLocation: {link}\r\n")
    } else {
        "HTTP/1.1 404 Not Found\r\n".to_owned()
    };
    let rest = "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    socket.write_all(format!("{begin}{rest}").as_bytes()).await?;
    socket.shutdown().await?;
    Ok(is_wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_opener_is_told_with_what_was_tried() {
        let address = "127.0.0.1:1".parse().unwrap();
        let error = begin(&["no-such-opener", "nor-this"], &address, "/x").unwrap_err();
        assert_eq!(error.to_string(), "there is none of no-such-opener, nor-this");
    }

    #[tokio::test]
    async fn only_the_way_that_was_given_leads_to_the_link() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (path, status) in [("/right", "303"), ("/wrong", "404"), ("/rightx", "404")] {
            let asked = tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
                socket.write_all(request.as_bytes()).await.unwrap();
                let mut said = String::new();
                socket.read_to_string(&mut said).await.unwrap();
                said
            });
            let (socket, _) = listener.accept().await.unwrap();
            let led = lead(socket, "/right", "http://x.localhost/?ms=secret").await.unwrap();
            let said = asked.await.unwrap();
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert_eq!((led, said.contains("secret")), (status == "303", status == "303"));
        }
    }
}
