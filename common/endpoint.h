#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/secret.h"
#include "common/tls_trust.h"

namespace vmferry {

// How a source disk's bytes are read.
enum class SourceKind {
  HttpRange,   // HTTPS server with ranges: a datastore's flat file
  Imageio,     // ovirt-imageio: OPTIONS, extents, ranges, checksum
  Nbd,         // an NBD server: nbd://, nbds://, nbd+unix://
  NbdkitVddk,  // an nbdkit child with the vddk plugin (or a stand-in), over a Unix socket
  File,        // a local raw file
  VmdkStream,  // a streamOptimized VMDK over HTTPS: sequential, not resumable
};
std::string_view to_string(SourceKind kind);
Result<SourceKind> source_kind_from_string(std::string_view text);

// The part of an identity that names a VMware disk's file.
inline constexpr std::string_view kIdentityFile = "file";
// The value of a part that the source knows nothing of, or nothing any more: events are forgotten.
inline constexpr std::string_view kIdentityNone = "none";

// Everything an agent needs to read one source disk; made by a Provider, sent to one agent, never
// stored. `identity` is what must not change for a resume to be valid.
struct DiskEndpoint {
  SourceKind kind = SourceKind::HttpRange;
  std::string url;           // without user or password; an imageio URL holds its ticket: secret
  std::string fallback_url;  // tried once for the whole disk when url cannot be reached (proxy)
  TlsTrust trust;
  std::uint64_t size_bytes = 0;  // virtual size; the source must agree

  SecretString authorization;  // HTTP Authorization header value
  SecretString cookie;         // HTTP Cookie header value

  // Ordered name/value pairs: "vCenter instance", "disk uuid", "change version", ...
  std::vector<std::pair<std::string, std::string>> identity;

  int max_connections = 4;                 // the peer's limit, or ours for it
  std::uint64_t request_bytes = 16 << 20;  // best size of one range request

  // NbdkitVddk only.
  struct Vddk {
    std::string server;
    int port = 443;  // of its API, which VDDK logs in at
    std::string user;
    SecretString password;
    std::string thumbprint;
    std::string vm_moref;
    std::string snapshot_moref;
    std::string file;  // "[datastore] dir/disk.vmdk"
    std::string transports = "nbdssl:nbd";
    friend bool operator==(const Vddk&, const Vddk&) = default;
  } vddk;

  friend bool operator==(const DiskEndpoint&, const DiskEndpoint&) = default;
};

// Whether only the network is asked for its bytes. False for files, for Unix sockets, and for an
// NBD URI that names files (keys, certificates) of whoever opens it: on a node those are others'.
bool is_over_the_network(const DiskEndpoint& endpoint);

}  // namespace vmferry
