#include "transfer/sources/http.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/secret.h"

namespace vmferry {
namespace {

// The URL as far as it names the file: a datastore's `dcPath` and `dsName` do, other query
// parameters may be signatures and change with every request.
std::string lasting_url(const std::string& url) {
  std::string text = redacted_url(url);
  const std::size_t query = url.find('?');
  for (std::size_t at = query; at != std::string::npos; at = url.find('&', at + 1)) {
    const std::string parameter = url.substr(at + 1, url.find('&', at + 1) - at - 1);
    if (parameter.starts_with("dcPath=") || parameter.starts_with("dsName=")) {
      text += " " + parameter;
    }
  }
  return text;
}

constexpr std::uint64_t kMaxRequestBytes = 64u << 20;  // a worker holds that much memory

// A connection that cannot be made at all: the other URL is tried.
bool is_unreachable(const Error& error) {
  return error.kind() == ErrorKind::Unavailable || error.kind() == ErrorKind::DeadlineExceeded;
}

}  // namespace

bool is_vmdk_descriptor_url(std::string_view url) {
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  return path.ends_with(".vmdk") && !path.ends_with("-flat.vmdk");
}

std::string sibling_url(std::string_view url, std::string_view file) {
  const std::size_t path_end = std::min(url.find_first_of("?#"), url.size());
  const std::size_t slash = url.substr(0, path_end).rfind('/');
  const std::size_t directory_end = slash == std::string_view::npos ? 0 : slash + 1;
  return std::string(url.substr(0, directory_end)) + url_encode(file) +
         std::string(url.substr(path_end));
}

HttpSource::HttpSource(const DiskEndpoint& endpoint, const RenewEndpoint& renew, Options options,
                       const Logger& log)
    : session_(endpoint, renew,
               {.max_connections = endpoint.max_connections,
                .auth_code = code::kSourceAuth,
                .patience = options.patience,
                .resolve = options.resolve},
               stats_, log),
      request_bytes_(
          std::clamp<std::uint64_t>(endpoint.request_bytes / kMiB * kMiB, kMiB, kMaxRequestBytes)),
      workers_(std::max(1, endpoint.max_connections)),
      identity_(endpoint.identity) {}

Result<std::unique_ptr<HttpSource>> HttpSource::open(const DiskEndpoint& endpoint,
                                                     const RenewEndpoint& renew, Options options,
                                                     const Logger& log, std::stop_token stop) {
  const auto open_at = [&](bool fallback) -> Result<std::unique_ptr<HttpSource>> {
    std::unique_ptr<HttpSource> source(new HttpSource(endpoint, renew, options, log));
    if (fallback) source->session_.use_fallback();
    TRY(is_vmdk_descriptor_url(source->session_.endpoint()->url) ? source->open_flat_vmdk(stop)
                                                                 : source->open_raw_file(stop));
    return source;
  };
  Result<std::unique_ptr<HttpSource>> source = open_at(false);
  if (!source && is_unreachable(source.error()) && !endpoint.fallback_url.empty()) {
    log.warn("the source is read through its second URL", source.error());
    source = open_at(true);
  }
  if (!source) return std::move(source).error().with_context(redacted_url(endpoint.url));
  return source;
}

Result<void> HttpSource::open_raw_file(std::stop_token stop) {
  auto file = std::make_unique<HttpFile>();
  file->url = [](const DiskEndpoint& endpoint) { return endpoint.url; };
  TRY(session_.stat(*file, true, stop));
  if (file->size_bytes > 0 && !TRY(session_.has_ranges(*file, std::move(stop)))) {
    stream_ = std::make_unique<HttpSequence>(session_, *file);
  }
  size_bytes_ = file->size_bytes;
  segments_.push_back({{0, size_bytes_}, file.get(), 0});
  if (identity_.empty()) identity_.emplace_back("url", lasting_url(session_.endpoint()->url));
  add_version(file->version, "");
  files_.push_back(std::move(file));
  return {};
}

Result<void> HttpSource::open_flat_vmdk(std::stop_token stop) {
  HttpFile text;
  text.url = [](const DiskEndpoint& endpoint) { return endpoint.url; };
  HttpSession::Question question{.path_suffix = {}, .accepted = {}};
  question.max_bytes = kMaxVmdkDescriptorBytes;
  const HttpResponse response = TRY(session_.ask(text, question, stop));
  const VmdkDescriptor descriptor = TRY(parse_vmdk_descriptor(response.body));
  TRY(check_vmdk_is_flat(descriptor));

  if (identity_.empty()) identity_.emplace_back("url", lasting_url(session_.endpoint()->url));
  if (!descriptor.cid.empty()) identity_.emplace_back("vmdk cid", descriptor.cid);
  for (const VmdkExtent& extent : descriptor.extents) {
    Segment segment{{size_bytes_, extent.length}, nullptr, extent.file_offset};
    if (extent.is_raw()) {
      segment.file = TRY(file_of_extent(descriptor, extent, stop));
    }
    if (extent.length > 0) segments_.push_back(segment);
    size_bytes_ += extent.length;
  }
  return {};
}

// Each file is asked for once. Its size must be what the extents say, else somebody writes to it or
// the descriptor is of another disk (source-vmware.md 6.3).
Result<const HttpFile*> HttpSource::file_of_extent(const VmdkDescriptor& descriptor,
                                                   const VmdkExtent& extent, std::stop_token stop) {
  const auto known = std::ranges::find(names_, extent.file);
  if (known != names_.end()) {
    return files_[static_cast<std::size_t>(known - names_.begin())].get();
  }
  auto file = std::make_unique<HttpFile>();
  file->url = [name = extent.file](const DiskEndpoint& endpoint) {
    return sibling_url(endpoint.url, name);
  };
  Result<void> found = session_.stat(*file, true, std::move(stop));
  if (!found) return std::move(found).error().with_context("VMDK extent '" + extent.file + "'");
  std::uint64_t end = 0;
  for (const VmdkExtent& other : descriptor.extents) {
    if (other.is_raw() && other.file == extent.file) {
      end = std::max(end, other.file_offset + other.length);
    }
  }
  if (file->size_bytes != end) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "VMDK extent '{}' has {} bytes, its descriptor says {}", extent.file,
                       file->size_bytes, end);
  }
  add_version(file->version, " of " + extent.file);
  names_.push_back(extent.file);
  files_.push_back(std::move(file));
  return files_.back().get();
}

void HttpSource::add_version(const FileVersion& version, const std::string& of_file) {
  if (!version.etag.empty()) {
    identity_.emplace_back((version.has_strong_etag() ? "etag" : "weak etag") + of_file,
                           version.etag);
  }
  if (!version.last_modified.empty()) {
    identity_.emplace_back("last modified" + of_file, version.last_modified);
  }
}

SourceHints HttpSource::hints() const {
  if (stream_) return {.workers = 1, .sequential = true};
  const bool has_zeros = std::ranges::any_of(
      segments_, [](const Segment& segment) { return segment.file == nullptr; });
  return {.workers = workers_, .request_bytes = request_bytes_, .has_extents = has_zeros};
}

std::size_t HttpSource::segment_at(std::uint64_t offset) const {
  const auto after = std::ranges::upper_bound(
      segments_, offset, {}, [](const Segment& segment) { return segment.range.offset; });
  return static_cast<std::size_t>(after - segments_.begin()) - 1;
}

Result<std::vector<Extent>> HttpSource::extents(ByteRange range, std::stop_token) {
  if (range.end() > size_bytes_ || range.end() < range.offset) {
    return make_error(ErrorKind::InvalidArgument, "extents beyond the end of the disk");
  }
  if (range.empty()) return std::vector<Extent>{{range, Allocation::Data}};
  const Segment& segment = segments_[segment_at(range.offset)];
  const std::uint64_t end = std::min(segment.range.end(), range.end());
  return std::vector<Extent>{{{range.offset, end - range.offset},
                              segment.file == nullptr ? Allocation::Zero : Allocation::Data}};
}

Result<void> HttpSource::read(std::uint64_t offset, std::span<std::byte> into,
                              std::stop_token stop) {
  const ByteRange range = TRY(ByteRange::make(offset, into.size()));
  if (range.end() > size_bytes_) {
    return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                       "bytes {}..{} are beyond the end of the disk ({} bytes)", range.offset,
                       range.end(), size_bytes_);
  }
  if (stream_) return stream_->read(offset, into, std::move(stop));
  for (std::size_t i = into.empty() ? 0 : segment_at(offset); !into.empty(); ++i) {
    const Segment& segment = segments_[i];
    const std::uint64_t within = offset - segment.range.offset;
    const std::size_t length = std::min<std::size_t>(into.size(), segment.range.length - within);
    if (segment.file == nullptr) {
      std::memset(into.data(), 0, length);
    } else {
      TRY(session_.read(*segment.file, segment.file_offset + within, into.first(length), stop));
    }
    offset += length;
    into = into.subspan(length);
  }
  return {};
}

}  // namespace vmferry
