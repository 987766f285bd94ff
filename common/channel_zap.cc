#include "common/channel_zap.h"

#include <zmq.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace vmferry {
namespace {

constexpr const char* kQuestions = "inproc://zeromq.zap.01";
constexpr const char* kEvents = "inproc://vmferry.handshakes";
constexpr std::size_t kMaxFrames = 16;

// All frames of one message; nothing when the context was shut down.
std::optional<std::vector<std::string>> receive_frames(void* socket) {
  std::vector<std::string> frames;
  int more = 1;
  while (more != 0) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    const int received = zmq_msg_recv(&frame, socket, 0);
    if (received < 0) {
      const int error = zmq_errno();
      zmq_msg_close(&frame);
      if (error == EINTR) continue;
      return std::nullopt;
    }
    if (frames.size() < kMaxFrames) {
      frames.emplace_back(static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame));
    }
    more = zmq_msg_more(&frame);
    zmq_msg_close(&frame);
  }
  return frames;
}

void send_frames(void* socket, const std::vector<std::string>& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
    while (zmq_send(socket, frames[i].data(), frames[i].size(), more) < 0) {
      // ETERM: the context ends, and with it whoever asked.
      if (zmq_errno() != EINTR) return;
    }
  }
}

Error zmq_error(const char* what) {
  return make_error(ErrorKind::Internal, "{}: {}", what, zmq_strerror(zmq_errno()));
}

}  // namespace

Result<std::unique_ptr<Doorman>> Doorman::start(void* context,
                                                std::optional<std::set<std::string>> allowed) {
  std::unique_ptr<Doorman> doorman(new Doorman(std::move(allowed)));
  doorman->context_ = context;
  void* questions = zmq_socket(context, ZMQ_REP);
  if (questions == nullptr) return zmq_error("cannot make the ZAP socket");
  if (zmq_bind(questions, kQuestions) != 0) {
    Error error = zmq_error("cannot bind the ZAP socket");
    zmq_close(questions);
    return error;
  }
  // Handing a socket to a new thread is allowed: the start is the full fence that libzmq asks for.
  doorman->answering_ = std::jthread([d = doorman.get(), questions] { d->serve(questions); });
  return doorman;
}

Result<void> Doorman::watch(void* socket) {
  constexpr int kFailures = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                            ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_MONITOR_STOPPED;
  if (zmq_socket_monitor(socket, kEvents, kFailures) != 0) return zmq_error("cannot monitor");
  void* events = zmq_socket(context_, ZMQ_PAIR);
  if (events == nullptr) return zmq_error("cannot make the monitor socket");
  if (zmq_connect(events, kEvents) != 0) {
    Error error = zmq_error("cannot connect the monitor socket");
    zmq_close(events);
    return error;
  }
  watching_ = std::jthread([this, events] { count_failures(events); });
  return {};
}

bool Doorman::may_enter(const std::string& mechanism, const std::string& key) const {
  if (mechanism != "CURVE" || key.empty()) return false;
  return !allowed_ || allowed_->contains(key);
}

void Doorman::serve(void* questions) {
  // A question: version, request id, domain, address, identity, mechanism, credentials.
  while (const std::optional<std::vector<std::string>> frames = receive_frames(questions)) {
    std::string key;
    if (frames->size() == 7 && (*frames)[6].size() == 32) {
      std::array<char, 41> text{};
      std::array<std::uint8_t, 32> raw{};
      std::memcpy(raw.data(), (*frames)[6].data(), raw.size());
      if (zmq_z85_encode(text.data(), raw.data(), raw.size()) != nullptr) key = text.data();
    }
    const bool welcome = frames->size() == 7 && may_enter((*frames)[5], key);
    if (!welcome) ++refused_;
    const std::string request = frames->size() > 1 ? (*frames)[1] : "";
    send_frames(questions, {"1.0", request, welcome ? "200" : "400", welcome ? "OK" : "not known",
                            welcome ? key : "", ""});
  }
  zmq_close(questions);
}

void Doorman::count_failures(void* events) {
  // An event: 16 bits of its number and 32 of its value, then the address.
  while (const std::optional<std::vector<std::string>> frames = receive_frames(events)) {
    std::uint16_t number = 0;
    if (frames->empty() || frames->front().size() < sizeof number) continue;
    std::memcpy(&number, frames->front().data(), sizeof number);
    if (number == ZMQ_EVENT_MONITOR_STOPPED) break;
    ++refused_;
  }
  zmq_close(events);
}

}  // namespace vmferry
