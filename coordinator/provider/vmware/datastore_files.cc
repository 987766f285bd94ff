#include "coordinator/provider/vmware/datastore_files.h"

#include <charconv>
#include <optional>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

constexpr std::size_t kMostDescriptorBytes = 64u << 10;
constexpr std::chrono::milliseconds kTimeout{30'000};

Error status_error(int status, const std::string& file) {
  if (status == 404) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                       "file '{}' does not exist on the server; check the VM's disks in the "
                       "vSphere client, and that the account may browse the datastore",
                       file);
  }
  if (status == 403) {
    return coded_error(ErrorKind::PermissionDenied, code::kSourcePrivilege,
                       "the account may not read file '{}'; it needs Datastore.Browse and "
                       "Datastore.FileManagement",
                       file);
  }
  // hostd answers 500 for a file that somebody holds open.
  if (status == 500) {
    return coded_error(ErrorKind::Unavailable, code::kDiskLocked,
                       "the server cannot open file '{}': a running VM, a backup or a snapshot "
                       "may hold it",
                       file);
  }
  return coded_error(status >= 500 ? ErrorKind::Unavailable : ErrorKind::InvalidArgument,
                     status >= 500 ? code::kSourceUnreachable : code::kSourceProtocol,
                     "the server answered HTTP status {} for file '{}'", status, file);
}

std::optional<std::uint64_t> content_length(const HttpResponse& response) {
  const std::string* text = response.header("content-length");
  if (text == nullptr) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

}  // namespace

Result<DatastoreFiles::Answer> DatastoreFiles::ask(Exchange& exchange, const std::string& method,
                                                   const std::string& file,
                                                   const std::string& datacenter) {
  const std::string place = datacenter + '\n' + std::string(datastore_of(file));
  bool first = false;
  {
    auto twice = twice_.lock();
    if (const auto it = twice->find(place); it != twice->end()) first = it->second;
  }
  const auto url_of = [&](bool twice) {
    return folder_url(origin_, datastore_of(file), path_of(file), datacenter, twice);
  };
  // Plain names are spelled alike, and their success proves nothing for others.
  const bool spelled_alike = url_of(false) == url_of(true);
  for (const bool twice : {first, !first}) {
    HttpRequest request;
    request.method = method;
    request.url = url_of(twice);
    request.total_timeout = kTimeout;
    request.max_response_bytes = kMostDescriptorBytes;
    HttpResponse response = TRY(exchange.http(request));
    const bool try_other = twice == first && !spelled_alike;
    if (response.status == 404 && try_other) continue;
    if (response.status != 200) return status_error(response.status, file);
    if (!spelled_alike) (*twice_.lock())[place] = twice;
    return Answer{request.url, std::move(response)};
  }
  return status_error(404, file);
}

Result<FlatFile> DatastoreFiles::locate(Exchange& exchange, const Device& disk,
                                        const std::string& datacenter) {
  const std::string& file = disk.backing.file;
  const Answer text = TRY(ask(exchange, "GET", file, datacenter));
  Result<VmdkDescriptor> descriptor = parse_vmdk_descriptor(text.response.body);
  if (!descriptor) return std::move(descriptor).error().with_context("file '" + file + "'");
  Result<FlatLayout> layout = flat_layout(*descriptor, disk.capacity_bytes);
  if (!layout) return std::move(layout).error().with_context("file '" + file + "'");

  FlatFile found;
  for (const FlatLayout::File& part : layout->files) {
    const std::string name = sibling(file, part.name);
    const Answer head = TRY(ask(exchange, "HEAD", name, datacenter));
    const std::optional<std::uint64_t> size = content_length(head.response);
    if (size != part.size_bytes) {
      return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                         "file '{}' is {} bytes long, its descriptor says {} bytes", name,
                         size ? std::to_string(*size) : "an unknown number of", part.size_bytes);
    }
    found.url = head.url;
    if (const std::string* modified = head.response.header("last-modified")) {
      found.modified += (found.modified.empty() ? "" : "; ") + *modified;
    }
  }
  if (layout->by_descriptor) found.url = text.url;
  found.size_bytes = descriptor->size_bytes();
  found.content_id = descriptor->cid;
  return found;
}

}  // namespace vmferry::vmware
