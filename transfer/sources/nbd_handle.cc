#include "transfer/sources/nbd_handle.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "common/catalogue.h"
#include "common/fd.h"
#include "common/secret.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kMaxRequest = 2u << 20;  // beyond it VDDK fails through a busy vCenter
constexpr std::uint32_t kLargestMinBlock = 64u << 10;

std::string name_of(const NbdTarget& target) {
  return target.uri.empty() ? "NBD server on " + target.unix_socket : redacted_url(target.uri);
}

bool mentions(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

Error connect_error(const NbdTarget& target) {
  const std::string text = nbd_error_text();
  const int number = nbd_get_errno();
  // A connection that breaks during the handshake, as of a server that is being restarted.
  const bool broke = mentions(text, "non-properly terminated") || mentions(text, "pull function") ||
                     mentions(text, "push function") || mentions(text, "prematurely");
  if (broke) {
    return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable, "cannot connect to {}: {}",
                       name_of(target), text);
  }
  if (mentions(text, "TLS") || mentions(text, "gnutls") || mentions(text, "certificate") ||
      mentions(text, "handshake: The")) {
    return coded_error(ErrorKind::PermissionDenied, code::kSourceTls, "TLS with {} failed: {}",
                       name_of(target), text);
  }
  if (number == ENOENT && !mentions(text, "connect")) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing, "{}: {}", name_of(target), text);
  }
  if (number == EINVAL) {
    return make_error(ErrorKind::InvalidArgument, "{}: {}", name_of(target), text);
  }
  return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable, "cannot connect to {}: {}",
                     name_of(target), text);
}

bool configure(nbd_handle* handle, const NbdTarget& target) {
  if (nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1) return false;
  // Else every read buffer is cleared first, a whole pass over memory. Buffers of failed reads
  // are never used.
  if (nbd_set_pread_initialize(handle, false) == -1) return false;
  if (target.uri.empty()) return true;
  const std::uint32_t transports =
      LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX | LIBNBD_ALLOW_TRANSPORT_VSOCK;
  if (nbd_set_uri_allow_transports(handle, transports) == -1) return false;
  // A key file is named by whoever wrote the URI; it is read, never sent.
  const bool names_file =
      mentions(target.uri, "tls-psk-file=") || mentions(target.uri, "tls-certificates=");
  if (nbd_set_uri_allow_local_file(handle, names_file) == -1) return false;
  if (!target.uri.starts_with("nbds")) return true;
  if (nbd_set_tls(handle, LIBNBD_TLS_REQUIRE) == -1) return false;
  if (nbd_set_tls_verify_peer(handle, true) == -1) return false;
  return target.certificates_directory.empty() ||
         nbd_set_tls_certificates(handle, target.certificates_directory.c_str()) == 0;
}

// Drives the handshake until it is over.
Result<void> wait_connected(nbd_handle* handle, const NbdTarget& target, milliseconds limit,
                            std::stop_token stop) {
  const WakeFd wake = TRY(WakeFd::make());
  const std::stop_callback on_stop(stop, [&wake] { wake.signal(); });
  const auto deadline = steady_clock::now() + limit;
  while (nbd_aio_is_connecting(handle) != 0) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "connecting was canceled");
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds(0)) {
      return coded_error(ErrorKind::DeadlineExceeded, code::kSourceUnreachable,
                         "{} did not finish the handshake within {} ms", name_of(target),
                         limit.count());
    }
    const unsigned direction = nbd_aio_get_direction(handle);
    short events = 0;
    if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) events |= POLLIN;
    if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) events |= POLLOUT;
    pollfd fds[] = {{nbd_aio_get_fd(handle), events, 0}, {wake.get(), POLLIN, 0}};
    if (::poll(fds, 2, static_cast<int>(left.count())) == -1 && errno != EINTR) {
      return errno_error(errno, "poll");
    }
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (events & POLLIN) != 0) {
      if (nbd_aio_notify_read(handle) == -1) return connect_error(target);
    } else if (fds[0].revents != 0) {
      if (nbd_aio_notify_write(handle) == -1) return connect_error(target);
    }
  }
  if (nbd_aio_is_ready(handle) != 1) return connect_error(target);
  return {};
}

}  // namespace

std::string nbd_error_text() {
  const char* text = nbd_get_error();
  return text == nullptr ? "unknown error" : text;
}

Result<NbdHandle> dial_nbd(const NbdTarget& target, milliseconds deadline, std::stop_token stop) {
  NbdHandle handle(nbd_create());
  if (!handle)
    return make_error(ErrorKind::Internal, "cannot make an NBD handle: {}", nbd_error_text());
  if (!configure(handle.get(), target)) {
    return make_error(ErrorKind::Internal, "cannot set up an NBD handle: {}", nbd_error_text());
  }
  const int started = target.uri.empty()
                          ? nbd_aio_connect_unix(handle.get(), target.unix_socket.c_str())
                          : nbd_aio_connect_uri(handle.get(), target.uri.c_str());
  if (started == -1) return connect_error(target);
  TRY(wait_connected(handle.get(), target, deadline, std::move(stop)));
  return handle;
}

Result<NbdProperties> nbd_properties(nbd_handle* handle) {
  const std::int64_t size = nbd_get_size(handle);
  if (size < 0) {
    return coded_error(ErrorKind::Unavailable, code::kSourceProtocol,
                       "the NBD server tells no usable size: {}", nbd_error_text());
  }
  const std::int64_t minimum = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM);
  const std::int64_t maximum = nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM);
  NbdProperties properties;
  properties.size_bytes = static_cast<std::uint64_t>(size);
  // A server that says nothing takes any alignment; our chunks are aligned but for the last one.
  if (minimum > 1) properties.min_block = static_cast<std::uint32_t>(minimum);
  if (minimum > kLargestMinBlock || (minimum > 1 && (minimum & (minimum - 1)) != 0)) {
    return coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                       "the NBD server wants a minimum block of {} bytes", minimum);
  }
  if (properties.size_bytes % properties.min_block != 0) {
    return coded_error(
        ErrorKind::InvalidArgument, code::kDiskUnsupported,
        "the disk of {} bytes is not a multiple of the NBD server's minimum block of "
        "{} bytes: its end cannot be read",
        properties.size_bytes, properties.min_block);
  }
  std::uint64_t largest = kMaxRequest;
  if (maximum > 0) largest = std::min<std::uint64_t>(largest, static_cast<std::uint64_t>(maximum));
  largest = std::max<std::uint64_t>(largest / properties.min_block, 1) * properties.min_block;
  properties.max_request = static_cast<std::uint32_t>(largest);
  properties.multi_conn = nbd_can_multi_conn(handle) > 0;
  properties.allocation = nbd_can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0;
  return properties;
}

}  // namespace vmferry
