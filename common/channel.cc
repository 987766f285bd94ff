#include "common/channel.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "common/channel_zap.h"
#include "common/check.h"
#include "common/fd.h"
#include "common/handle.h"

namespace vmferry {
namespace {

constexpr std::size_t kKeyLength = 40;
constexpr int kHighWater = 1024;  // messages: one Assign with the journal of a 2 TiB disk has 9
constexpr const char* kZapDomain = "vmferry";

using Context = Owned<void, zmq_ctx_term>;
using Socket = Owned<void, zmq_close>;

Error zmq_error(ErrorKind kind, std::string_view what) {
  return make_error(kind, "{}: {}", what, zmq_strerror(zmq_errno()));
}

Result<void> check_key(const std::string& key, std::string_view what) {
  std::array<std::uint8_t, 32> raw{};
  if (key.size() != kKeyLength || zmq_z85_decode(raw.data(), key.c_str()) == nullptr) {
    return make_error(ErrorKind::InvalidArgument, "{} is no CURVE key of 40 Z85 characters", what);
  }
  return {};
}

bool set(void* socket, int option, int value) {
  return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}
bool set(void* socket, int option, std::int64_t value) {
  return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}
bool set(void* socket, int option, const std::string& value) {
  return zmq_setsockopt(socket, option, value.data(), value.size()) == 0;
}
// Keys are passed as text with its terminator, hence 41 bytes.
bool set_key(void* socket, int option, const std::string& key) {
  return zmq_setsockopt(socket, option, key.c_str(), key.size() + 1) == 0;
}

bool set_common(void* socket, const CurveKeys& keys) {
  return set(socket, ZMQ_LINGER, 0) && set(socket, ZMQ_SNDHWM, kHighWater) &&
         set(socket, ZMQ_RCVHWM, kHighWater) &&
         set(socket, ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(protocol::kMaxMessageBytes)) &&
         set(socket, ZMQ_HEARTBEAT_IVL, 2000) && set(socket, ZMQ_HEARTBEAT_TIMEOUT, 6000) &&
         set(socket, ZMQ_HANDSHAKE_IVL, 5000) &&
         set_key(socket, ZMQ_CURVE_PUBLICKEY, keys.public_key) &&
         set_key(socket, ZMQ_CURVE_SECRETKEY, keys.secret_key.reveal());
}

// One frame and what came with it.
struct Frame {
  std::string data;
  std::string key;  // of the peer, as the doorman wrote it
  bool more = false;
};

// Nothing when no frame is there. Internal when the socket is broken.
Result<std::optional<Frame>> receive_frame(void* socket) {
  zmq_msg_t message;
  zmq_msg_init(&message);
  const Owned<zmq_msg_t, zmq_msg_close> closer(&message);
  while (zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0) {
    if (zmq_errno() == EAGAIN) return std::optional<Frame>();
    if (zmq_errno() != EINTR) return zmq_error(ErrorKind::Internal, "cannot receive");
  }
  Frame frame;
  frame.data.assign(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
  if (const char* user = zmq_msg_gets(&message, "User-Id")) frame.key = user;
  frame.more = zmq_msg_more(&message) != 0;
  return std::optional<Frame>(std::move(frame));
}

// All frames of the next message, empty when there is none.
Result<std::vector<Frame>> receive_frames(void* socket) {
  std::vector<Frame> frames;
  while (true) {
    std::optional<Frame> frame = TRY(receive_frame(socket));
    if (!frame) return frames;
    const bool more = frame->more;
    // A message of ours has two frames at most; the rest is read, to stay in step, and dropped.
    if (frames.size() < 4) frames.push_back(*std::move(frame));
    if (!more) return frames;
  }
}

// Waits until the socket or one of the fds is readable or the time is over.
Result<void> wait(void* socket, std::chrono::milliseconds timeout,
                  const std::vector<int>& wake_fds) {
  std::vector<zmq_pollitem_t> items{{socket, 0, ZMQ_POLLIN, 0}};
  for (const int fd : wake_fds) items.push_back({nullptr, fd, ZMQ_POLLIN, 0});
  const long milliseconds = std::max<long>(0, static_cast<long>(timeout.count()));
  if (zmq_poll(items.data(), static_cast<int>(items.size()), milliseconds) < 0 &&
      zmq_errno() != EINTR) {
    return zmq_error(ErrorKind::Internal, "cannot poll");
  }
  return {};
}

// Counts what could not be read.
struct Garbage {
  std::uint64_t count = 0;
  std::string last;
  void add(std::string why) {
    ++count;
    last = std::move(why);
  }
};

}  // namespace

CurveKeys CurveKeys::generate() {
  std::array<char, kKeyLength + 1> public_key{};
  std::array<char, kKeyLength + 1> secret_key{};
  // Fails only when libzmq was built without CURVE, which no Debian package is.
  VMFERRY_CHECK(zmq_curve_keypair(public_key.data(), secret_key.data()) == 0);
  CurveKeys keys{public_key.data(), SecretString(std::string(secret_key.data(), kKeyLength))};
  secret_key.fill('\0');
  return keys;
}

Result<CurveKeys> CurveKeys::from_secret(SecretString secret_key) {
  TRY(check_key(secret_key.reveal(), "the secret key"));
  std::array<char, kKeyLength + 1> derived{};
  if (zmq_curve_public(derived.data(), secret_key.reveal().c_str()) != 0) {
    return Error(ErrorKind::InvalidArgument, "no CURVE key");
  }
  return CurveKeys{derived.data(), std::move(secret_key)};
}

Result<CurveKeys> CurveKeys::load_or_create(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) return errno_error(errno, "key file '" + path + "'");
    CurveKeys keys = generate();
    TRY(write_file_atomically(path + ".pub", keys.public_key + "\n", 0644));
    TRY(write_file_atomically(path, keys.secret_key.reveal() + "\n", 0600));
    return keys;
  }
  if (!S_ISREG(status.st_mode)) {
    return make_error(ErrorKind::InvalidArgument, "key file '{}' is no regular file", path);
  }
  if ((status.st_mode & 077) != 0) {
    return make_error(ErrorKind::PermissionDenied,
                      "key file '{}' may be read by others; chmod 600 it", path);
  }
  const auto first_line = [](std::string text) {
    text.resize(std::min(text.find_first_of(" \r\n"), text.size()));
    return text;
  };
  CurveKeys keys;
  keys.secret_key = SecretString(first_line(TRY(read_file(path, 4096))));
  TRY(check_key(keys.secret_key.reveal(), "the content of '" + path + "'"));
  // Derived rather than read: a .pub file of another key would only fail at the handshake.
  std::array<char, kKeyLength + 1> derived{};
  if (zmq_curve_public(derived.data(), keys.secret_key.reveal().c_str()) != 0) {
    return make_error(ErrorKind::InvalidArgument, "key file '{}' holds no CURVE key", path);
  }
  keys.public_key = derived.data();
  const Result<std::string> published = read_file(path + ".pub", 4096);
  if (!published || first_line(*published) != keys.public_key) {
    TRY(write_file_atomically(path + ".pub", keys.public_key + "\n", 0644));
  }
  return keys;
}

// ---- coordinator ----

struct CoordinatorChannel::Impl {
  // In the order of destruction, last first: the socket is closed, the context shut down, which
  // ends the doorman's threads, and then the context is released.
  Context context;
  std::unique_ptr<Doorman> doorman;
  Socket router;
  std::string address;
  Garbage garbage;

  ~Impl() {
    if (router) zmq_socket_monitor(router.get(), nullptr, 0);
    router.reset();
    if (context) zmq_ctx_shutdown(context.get());
  }

  std::optional<Received> read(std::vector<Frame> frames) {
    if (frames.size() != 2) {
      garbage.add(fmt::format("a message of {} parts", frames.size()));
      return std::nullopt;
    }
    // Agents derive the routing id from their key, so that none can take another's place.
    if (frames[1].key.empty() || !frames[0].data.starts_with(frames[1].key)) {
      garbage.add("a routing id that does not belong to its key");
      return std::nullopt;
    }
    Result<protocol::Message> message = protocol::decode(frames[1].data);
    if (!message) {
      garbage.add(message.error().message());
      return std::nullopt;
    }
    return Received{std::move(frames[0].data), std::move(frames[1].key), *std::move(message)};
  }
};

CoordinatorChannel::CoordinatorChannel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoordinatorChannel::~CoordinatorChannel() = default;

Result<std::unique_ptr<CoordinatorChannel>> CoordinatorChannel::bind(Options options) {
  TRY(check_key(options.keys.public_key, "the coordinator's public key"));
  auto impl = std::make_unique<Impl>();
  impl->context.reset(zmq_ctx_new());
  if (!impl->context) return zmq_error(ErrorKind::Internal, "cannot make a zmq context");
  impl->doorman = TRY(Doorman::start(impl->context.get(), std::move(options.allowed)));
  impl->router.reset(zmq_socket(impl->context.get(), ZMQ_ROUTER));
  void* router = impl->router.get();
  if (router == nullptr) return zmq_error(ErrorKind::Internal, "cannot make a zmq socket");
  if (!set_common(router, options.keys) || !set(router, ZMQ_CURVE_SERVER, 1) ||
      !set(router, ZMQ_ZAP_DOMAIN, std::string(kZapDomain)) ||
      !set(router, ZMQ_ROUTER_MANDATORY, 1) || !set(router, ZMQ_ROUTER_HANDOVER, 1)) {
    return zmq_error(ErrorKind::Internal, "cannot set a zmq option");
  }
  TRY(impl->doorman->watch(router));
  if (zmq_bind(router, options.bind.c_str()) != 0) {
    return zmq_error(ErrorKind::Unavailable, "cannot listen on '" + options.bind + "'");
  }
  std::array<char, 256> address{};
  std::size_t length = address.size();
  if (zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, address.data(), &length) != 0) {
    return zmq_error(ErrorKind::Internal, "cannot read the address");
  }
  impl->address = address.data();
  return std::unique_ptr<CoordinatorChannel>(new CoordinatorChannel(std::move(impl)));
}

const std::string& CoordinatorChannel::address() const { return impl_->address; }

Result<std::vector<Received>> CoordinatorChannel::receive(std::chrono::milliseconds timeout,
                                                          const std::vector<int>& wake_fds,
                                                          std::size_t most) {
  std::vector<Received> received;
  for (bool waited = false;; waited = true) {
    for (std::size_t i = 0; i < most; ++i) {
      std::vector<Frame> frames = TRY(receive_frames(impl_->router.get()));
      if (frames.empty()) break;
      if (std::optional<Received> message = impl_->read(std::move(frames))) {
        received.push_back(*std::move(message));
      }
    }
    if (waited || !received.empty()) return received;
    TRY(wait(impl_->router.get(), timeout, wake_fds));
  }
}

Result<void> CoordinatorChannel::send(const std::string& peer, const protocol::Message& message) {
  const std::string body = protocol::encode(message);
  void* router = impl_->router.get();
  if (zmq_send(router, peer.data(), peer.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
      zmq_send(router, body.data(), body.size(), ZMQ_DONTWAIT) < 0) {
    return zmq_error(ErrorKind::Unavailable, "cannot send to the agent");
  }
  return {};
}

std::uint64_t CoordinatorChannel::garbage_count() const { return impl_->garbage.count; }
std::uint64_t CoordinatorChannel::refused_count() const { return impl_->doorman->refused_count(); }
std::string CoordinatorChannel::last_garbage() const { return impl_->garbage.last; }

// ---- agent ----

struct AgentChannel::Impl {
  Context context;
  Socket dealer;
  Garbage garbage;
};

AgentChannel::AgentChannel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AgentChannel::~AgentChannel() = default;

Result<std::unique_ptr<AgentChannel>> AgentChannel::connect(Options options) {
  TRY(check_key(options.server_key, "the coordinator's public key"));
  TRY(check_key(options.keys.public_key, "the agent's public key"));
  auto impl = std::make_unique<Impl>();
  impl->context.reset(zmq_ctx_new());
  if (!impl->context) return zmq_error(ErrorKind::Internal, "cannot make a zmq context");
  impl->dealer.reset(zmq_socket(impl->context.get(), ZMQ_DEALER));
  void* dealer = impl->dealer.get();
  if (dealer == nullptr) return zmq_error(ErrorKind::Internal, "cannot make a zmq socket");
  // The same id for all connections of this process, so that a new one replaces a half-open old
  // one. IMMEDIATE: without a connection nothing is queued, as old heartbeats help nobody.
  const std::string routing_id = options.keys.public_key + "/" + random_hex_id().substr(0, 16);
  if (!set_common(dealer, options.keys) || !set(dealer, ZMQ_ROUTING_ID, routing_id) ||
      !set(dealer, ZMQ_IMMEDIATE, 1) || !set(dealer, ZMQ_RECONNECT_IVL, 100) ||
      !set(dealer, ZMQ_RECONNECT_IVL_MAX, 2000) ||
      !set_key(dealer, ZMQ_CURVE_SERVERKEY, options.server_key)) {
    return zmq_error(ErrorKind::Internal, "cannot set a zmq option");
  }
  if (zmq_connect(dealer, options.address.c_str()) != 0) {
    return zmq_error(ErrorKind::InvalidArgument, "coordinator '" + options.address + "'");
  }
  return std::unique_ptr<AgentChannel>(new AgentChannel(std::move(impl)));
}

Result<std::vector<protocol::Message>> AgentChannel::receive(std::chrono::milliseconds timeout,
                                                             const std::vector<int>& wake_fds,
                                                             std::size_t most) {
  std::vector<protocol::Message> received;
  for (bool waited = false;; waited = true) {
    for (std::size_t i = 0; i < most; ++i) {
      const std::vector<Frame> frames = TRY(receive_frames(impl_->dealer.get()));
      if (frames.empty()) break;
      Result<protocol::Message> message = protocol::decode(frames.front().data);
      if (frames.size() == 1 && message) {
        received.push_back(*std::move(message));
      } else {
        impl_->garbage.add(message ? "a message of several parts" : message.error().message());
      }
    }
    if (waited || !received.empty()) return received;
    TRY(wait(impl_->dealer.get(), timeout, wake_fds));
  }
}

Result<void> AgentChannel::send(const protocol::Message& message) {
  const std::string body = protocol::encode(message);
  if (zmq_send(impl_->dealer.get(), body.data(), body.size(), ZMQ_DONTWAIT) < 0) {
    return zmq_error(ErrorKind::Unavailable, "cannot send to the coordinator");
  }
  return {};
}

std::uint64_t AgentChannel::garbage_count() const { return impl_->garbage.count; }
std::string AgentChannel::last_garbage() const { return impl_->garbage.last; }

}  // namespace vmferry
