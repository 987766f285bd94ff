#pragma once

#include <libnbd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "common/handle.h"
#include "common/result.h"

namespace vmferry {

using NbdHandle = Owned<nbd_handle, nbd_close>;

// Where to connect and how to trust.
struct NbdTarget {
  std::string uri;                     // or:
  std::string unix_socket;             // default export of a server that we started
  std::string certificates_directory;  // holds ca-cert.pem; empty: libnbd's own search
};

// What the server told in the handshake, made safe to calculate with.
struct NbdProperties {
  std::uint64_t size_bytes = 0;
  std::uint32_t min_block = 1;    // offsets and lengths are multiples
  std::uint32_t max_request = 1;  // at most 2 MiB, a multiple of min_block
  bool multi_conn = false;
  bool allocation = false;  // base:allocation was negotiated
};

// Makes a connected handle within `deadline`.
using NbdDial =
    std::function<Result<NbdHandle>(std::chrono::milliseconds deadline, std::stop_token stop)>;

// Connects and negotiates. Errors: Unavailable (VMF-SRC-UNREACHABLE), DeadlineExceeded,
// PermissionDenied (VMF-SRC-TLS: certificate or key refused, TLS required), NotFound (no such
// export), InvalidArgument (bad URI), Canceled.
Result<NbdHandle> dial_nbd(const NbdTarget& target, std::chrono::milliseconds deadline,
                           std::stop_token stop);

// Rules of nbd-and-sinks.md 2.2. InvalidArgument with VMF-SRC-DISK-UNSUPPORTED when the end of the
// disk cannot be addressed in blocks of the server's minimum size.
Result<NbdProperties> nbd_properties(nbd_handle* handle);

// The last error of libnbd on this thread.
std::string nbd_error_text();

}  // namespace vmferry
