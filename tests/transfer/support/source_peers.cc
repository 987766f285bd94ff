#include "tests/transfer/support/source_peers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "common/fd.h"
#include "common/http_client.h"
#include "tests/support/places.h"

namespace vmferry::testing {
namespace {

using std::chrono::steady_clock;

template <typename Condition>
bool wait_until(std::chrono::milliseconds limit, Condition condition) {
  const auto deadline = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Workspace::Workspace() : directory_(*PrivateDirectory::make("")) {}

std::string Workspace::write(const std::string& name, const Bytes& content) const {
  return write(name, std::string(reinterpret_cast<const char*>(content.data()), content.size()));
}

std::string Workspace::write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name), std::ios::binary) << content;
  return path(name);
}

bool has_program(const std::string& name) {
  const char* search = ::getenv("PATH");
  std::string all = std::string(search == nullptr ? "" : search) + ":/usr/sbin:/sbin";
  std::replace(all.begin(), all.end(), ':', '\n');
  std::istringstream lines(all);
  for (std::string directory; std::getline(lines, directory);) {
    if (::access((directory + "/" + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

int free_tcp_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof(address);
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

namespace {

// By the kernel's list, for a connection to find out would be the one that qemu-nbd serves.
bool listens(const std::string& socket_path) {
  constexpr const char* kAccepts = "00010000";
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    std::istringstream fields(line);
    std::string number, references, protocol, flags, type, state, inode, path;
    fields >> number >> references >> protocol >> flags >> type >> state >> inode >> path;
    if (path == socket_path && flags == kAccepts) return true;
  }
  return false;
}

}  // namespace

bool wait_for_file(const std::string& path, std::chrono::milliseconds limit) {
  return wait_until(limit, [&] {
    return std::filesystem::exists(path) && (!std::filesystem::is_socket(path) || listens(path));
  });
}

bool wait_for_port(int port, std::chrono::milliseconds limit) {
  return wait_until(limit, [&] {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  });
}

int run(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) line += "'" + word + "' ";
  return std::system((line + ">/dev/null 2>&1").c_str());
}

Bytes patterned(std::size_t size, unsigned seed, unsigned zero_every) {
  Bytes bytes(size);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
    const bool zero = zero_every != 0 && (i / 65536) % zero_every == zero_every - 1;
    bytes[i] = zero ? std::byte{0} : static_cast<std::byte>((state >> (i % 8 * 8)) | 1);
  }
  return bytes;
}

Peer::Peer(std::vector<std::string> command) : command_(std::move(command)) { start(); }

void Peer::start() {
  Result<std::unique_ptr<ChildProcess>> child =
      ChildProcess::start({.command = command_, .secret = SecretString()}, tail_);
  ASSERT_TRUE(child.ok()) << child.error().message();
  child_ = *std::move(child);
}

void Peer::kill() { child_.reset(); }

std::string Peer::stderr_text() const {
  std::string text;
  for (const std::string& line : tail_.lines()) text += line + "\n";
  return text;
}

Nbdkit::Nbdkit(const Workspace& workspace, std::vector<std::string> arguments)
    : socket_(workspace.path("nbd.sock")), pidfile_(workspace.path("nbd.pid")) {
  launch(arguments);
}

void Nbdkit::restart(std::vector<std::string> arguments) {
  peer_->kill();
  launch(arguments);
}

void Nbdkit::launch(const std::vector<std::string>& arguments) {
  std::filesystem::remove(socket_);
  std::filesystem::remove(pidfile_);
  std::vector<std::string> command{"nbdkit", "--foreground", "--readonly", "--exit-with-parent",
                                   "--unix", socket_,        "--pidfile",  pidfile_};
  command.insert(command.end(), arguments.begin(), arguments.end());
  peer_ = std::make_unique<Peer>(command);
  ASSERT_TRUE(wait_for_file(pidfile_)) << peer_->stderr_text();
}

TestPki::TestPki(const Workspace& workspace, const std::string& name)
    : directory(workspace.path(name)) {
  EXPECT_EQ(run({source_dir() + "/tests/support/pki.sh", directory, "server"}), 0);
  std::filesystem::copy_file(ca(), directory + "/ca-cert.pem");
  std::filesystem::copy_file(certificate(), directory + "/server-cert.pem");
  std::filesystem::copy_file(key(), directory + "/server-key.pem");
}

std::string TestPki::thumbprint() const {
  const std::string command =
      "openssl x509 -noout -fingerprint -sha256 -in '" + certificate() + "'";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string line(256, '\0');
  line.resize(std::fread(line.data(), 1, line.size(), pipe));
  ::pclose(pipe);
  const std::size_t equals = line.find('=');
  return equals == std::string::npos ? "" : line.substr(equals + 1, 95);
}

LyingServer::LyingServer(const Workspace& workspace, const Bytes& disk, const TestPki* pki) {
  std::vector<std::string> arguments{"--file", workspace.write("served.img", disk)};
  if (pki != nullptr) arguments.insert(arguments.end(), {"--tls", pki->certificate(), pki->key()});
  launch(workspace, arguments);
  if (pki != nullptr)
    origin_.replace(0, std::string("http://127.0.0.1").size(), "https://localhost");
}

LyingServer::LyingServer(const Workspace& workspace, const std::string& directory) {
  launch(workspace, {"--directory", directory});
}

void LyingServer::launch(const Workspace& workspace, std::vector<std::string> arguments) {
  const std::string port_file = workspace.path("http.port");
  std::vector<std::string> command{"/usr/bin/python3",
                                   source_dir() + "/tests/support/lying_http_server.py",
                                   "--port-file", port_file};
  command.insert(command.end(), arguments.begin(), arguments.end());
  peer_ = std::make_unique<Peer>(command);
  ASSERT_TRUE(wait_for_file(port_file, std::chrono::seconds(20))) << peer_->stderr_text();
  origin_ = "http://127.0.0.1:" + *read_file(port_file);
}

std::string LyingServer::file_url(const std::string& mode, const std::string& name) const {
  return origin_ + "/files/" + mode + "/" + name;
}

std::string LyingServer::image_url(const std::string& mode) const {
  return origin_ + "/images/" + mode;
}

std::string LyingServer::stats() const {
  const auto client = HttpClient::make({.trust = {}, .unix_socket = {}, .resolve = {}});
  HttpRequest request;
  request.url = origin_ + "/stats";
  Result<HttpResponse> response = (*client)->send(request, {});
  return response ? response->body : "";
}

Result<Bytes> read_all(DiskSource& source, int workers, std::size_t request_bytes,
                       std::stop_token stop) {
  Bytes disk(source.size_bytes());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failed;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < workers; ++i) {
      threads.emplace_back([&] {
        while (true) {
          const std::size_t offset = next.fetch_add(request_bytes);
          if (offset >= disk.size()) return;
          const std::size_t length = std::min(request_bytes, disk.size() - offset);
          Result<void> done = source.read(offset, std::span(disk).subspan(offset, length), stop);
          if (!done) {
            const std::lock_guard lock(mutex);
            if (!failed) failed = std::move(done).error();
            next = disk.size();
            return;
          }
        }
      });
    }
  }
  if (failed) return *failed;
  return disk;
}

Result<std::vector<Extent>> all_extents(DiskSource& source) {
  std::vector<Extent> all;
  for (std::uint64_t at = 0; at < source.size_bytes();) {
    const ByteRange range{at, source.size_bytes() - at};
    const std::vector<Extent> some = TRY(source.extents(range, {}));
    EXPECT_FALSE(some.empty());
    if (some.empty()) return make_error(ErrorKind::Internal, "no extent");
    for (const Extent& extent : some) {
      EXPECT_EQ(extent.range.offset, at);
      EXPECT_GT(extent.range.length, 0u);
      at = extent.range.end();
      all.push_back(extent);
    }
    EXPECT_LE(at, source.size_bytes());
  }
  return merge_adjacent(std::move(all));
}

}  // namespace vmferry::testing
