//! The codec against a server that nobody here wrote: Debian's diod, over a loopback socket.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use p9::{
    Assembler, MAX_WALK, NOFID, NOTAG, Next, Path, Reply, Request, VERSION, errno, getattr, open,
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const MSIZE: u32 = 65_536;

/// A running diod with a folder of its own; both go when it is dropped.
struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("p9-diod-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path =
            ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|dir| PathBuf::from(dir).join("diod"));
        let program = path
            .iter()
            .find(|path| path.exists())
            .expect("diod is missing: apt-get install diod");
        let child = Command::new(program)
            .args(["-f", "-n", "-N", "-c", "/dev/null", "-L", "/dev/null"])
            .args(["-l", &format!("127.0.0.1:{port}"), "-e"])
            .arg(&folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            port,
        }
    }

    fn connect(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => return Client { stream, tag: 0 },
                Err(error) if Instant::now() > deadline => panic!("diod does not listen: {error}"),
                Err(_) => thread::yield_now(),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Client {
    stream: TcpStream,
    tag: u16,
}

impl Client {
    /// One request and its answer: the fixed part and the file data.
    fn call(&mut self, request: Request<'_>, wanted: usize) -> (Vec<u8>, Vec<u8>) {
        let mut buffer = [0; 1024];
        self.tag = if matches!(request, Request::Version { .. }) {
            NOTAG
        } else {
            self.tag.wrapping_add(1) % 100
        };
        self.stream
            .write_all(request.encode(self.tag, &mut buffer).unwrap())
            .unwrap();
        let (mut reply, mut data) = (vec![0; 16_384], vec![0; wanted]);
        let mut assembler = Assembler::new(self.tag, request.reply_kind(), wanted);
        let mut input = [0; 4096];
        loop {
            let count = self.stream.read(&mut input).unwrap();
            assert_ne!(count, 0, "server closed at {request:?}");
            let step = assembler
                .feed(&input[..count], &mut reply, &mut data)
                .unwrap();
            assert_eq!(step.taken, count);
            if step.next == Next::Nothing {
                break;
            }
        }
        reply.truncate(assembler.reply_len());
        data.truncate(assembler.data_len());
        (reply, data)
    }

    /// A request whose answer has no file data.
    fn ask<T>(&mut self, request: Request<'_>, look: impl FnOnce(Reply<'_>) -> T) -> T {
        let (reply, _) = self.call(request, 0);
        look(Reply::decode(&reply).unwrap().1)
    }

    fn attach(&mut self, aname: &str) {
        self.ask(
            Request::Version {
                msize: MSIZE,
                version: VERSION,
            },
            |reply| {
                let Reply::Version { msize, version } = reply else {
                    panic!("{reply:?}")
                };
                assert_eq!(version, VERSION);
                assert!(msize <= MSIZE);
            },
        );
        // diod goes by the number; with -N any number attaches.
        let attach = Request::Attach {
            fid: 0,
            afid: NOFID,
            uname: b"root",
            aname: aname.as_bytes(),
            n_uname: owner(),
        };
        self.ask(attach, |reply| {
            assert!(
                matches!(reply, Reply::Attach { qid } if qid.is_dir()),
                "{reply:?}"
            )
        });
    }

    fn walk(&mut self, fid: u32, path: &str) -> Result<(), u32> {
        let mut names = [b"".as_slice(); MAX_WALK];
        let run = Path::new(path.as_bytes())
            .steps()
            .next_into(&mut names)
            .to_vec();
        self.ask(
            Request::Walk {
                fid: 0,
                new_fid: fid,
                names: &run,
            },
            |reply| match reply {
                Reply::Walk { qids } if qids.len() == run.len() => Ok(()),
                Reply::Walk { .. } => Err(errno::ENOENT),
                Reply::Lerror { errno } => Err(errno),
                other => panic!("{other:?}"),
            },
        )
    }

    fn open(&mut self, fid: u32, flags: u32) {
        self.ask(Request::Lopen { fid, flags }, |reply| {
            assert!(matches!(reply, Reply::Lopen { .. }), "{reply:?}")
        });
    }
}

/// The user who runs the test (the owner of the folder).
fn owner() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_file_is_found_and_read() {
    let server = Server::start("read");
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(server.folder.join("sub/data.bin"), &content).unwrap();
    let mut client = server.connect();
    client.attach(server.folder.to_str().unwrap());
    client.walk(1, "/sub/data.bin").unwrap();
    client.ask(
        Request::Getattr {
            fid: 1,
            mask: getattr::BASIC,
        },
        |reply| {
            let Reply::Getattr { attr } = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(attr.size, content.len() as u64);
            assert_eq!(attr.kind(), p9::FileKind::File);
        },
    );
    client.open(1, open::RDONLY);
    let mut read = Vec::new();
    loop {
        let count = MSIZE - 24;
        let request = Request::Read {
            fid: 1,
            offset: read.len() as u64,
            count,
        };
        let (_, data) = client.call(request, count as usize);
        if data.is_empty() {
            break;
        }
        read.extend(data);
    }
    assert!(read == content, "read {} bytes, other content", read.len());
    client.ask(Request::Clunk { fid: 1 }, |reply| {
        assert_eq!(reply, Reply::Clunk)
    });
}

#[test]
fn a_folder_is_listed() {
    let server = Server::start("list");
    for n in 0..300 {
        fs::write(server.folder.join(format!("sub/file-{n:03}")), "x").unwrap();
    }
    let mut client = server.connect();
    client.attach(server.folder.to_str().unwrap());
    client.walk(1, "sub").unwrap();
    client.open(1, open::RDONLY | open::DIRECTORY);
    let mut names = Vec::new();
    let mut offset = 0;
    loop {
        let before = names.len();
        client.ask(
            Request::Readdir {
                fid: 1,
                offset,
                count: 4096,
            },
            |reply| {
                let Reply::Readdir { entries } = reply else {
                    panic!("{reply:?}")
                };
                for entry in entries {
                    let entry = entry.unwrap();
                    offset = entry.offset;
                    names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                }
            },
        );
        if names.len() == before {
            break;
        }
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    assert_eq!(
        names,
        (0..300).map(|n| format!("file-{n:03}")).collect::<Vec<_>>()
    );
}

#[test]
fn what_is_missing_is_refused() {
    let server = Server::start("missing");
    let mut client = server.connect();
    client.attach(server.folder.to_str().unwrap());
    assert_eq!(client.walk(1, "nothing"), Err(errno::ENOENT));
    assert_eq!(client.walk(1, "sub/nothing"), Err(errno::ENOENT));
    client.ask(Request::Lopen { fid: 77, flags: 0 }, |reply| {
        assert!(matches!(reply, Reply::Lerror { .. }))
    });
    // The session goes on.
    client.walk(1, "sub").unwrap();
}
