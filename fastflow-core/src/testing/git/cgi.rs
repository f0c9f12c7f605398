//! `git http-backend`, as a server starts it.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use super::http::Request;

/// Lets the program answer a request, and returns the status and how many bytes of content there were.
pub(super) fn answer(
    request: &Request,
    body: &[u8],
    root: &Path,
    client: &mut impl Write,
) -> io::Result<(u16, u64)> {
    let mut command = Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("HOME", root);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("REQUEST_METHOD", &request.method).env("QUERY_STRING", &request.query);
    command.env("PATH_INFO", &request.path).env("REMOTE_ADDR", "127.0.0.1");
    command.env("CONTENT_LENGTH", body.len().to_string());
    for (variable, header) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        command.env(variable, request.header(header).unwrap_or_default());
    }
    let mut program = command.spawn()?;
    let mut input = program.stdin.take().unwrap();
    let output = BufReader::new(program.stdout.take().unwrap());
    let answered = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(body));
        pass_on(output, client)
    });
    // A client that is gone has closed the pipe, too.
    program.wait()?;
    answered
}

/// Makes an answer of HTTP of the answer of a program.
fn pass_on(mut program: impl BufRead, client: &mut impl Write) -> io::Result<(u16, u64)> {
    let (mut status, mut headers, mut line) = (200, String::new(), String::new());
    loop {
        line.clear();
        if program.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.strip_prefix("Status:") {
            Some(rest) => {
                status = rest.trim().split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            }
            None => headers.push_str(&line),
        }
    }
    write!(
        client,
        "HTTP/1.1 {status} -\r\n{headers}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )?;
    let (mut sent, mut buffer) = (0, [0; 16 << 10]);
    loop {
        let read = program.read(&mut buffer)?;
        write!(client, "{read:x}\r\n")?;
        client.write_all(&buffer[..read])?;
        client.write_all(b"\r\n")?;
        sent += read as u64;
        if read == 0 {
            client.flush()?;
            return Ok((status, sent));
        }
    }
}
