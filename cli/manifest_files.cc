#include "cli/manifest_files.h"

#include <algorithm>
#include <filesystem>
#include <istream>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/fd.h"

namespace vmferry::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = 16 * kMiB;

Error unreadable(const std::string& what, const std::string& why) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{}: {}", what, why);
}

Result<ManifestFile> read_stream(std::istream& in) {
  ManifestFile file{.name = "<stdin>", .text = {}};
  std::vector<char> buffer(64 * kKiB);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
    file.text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
    if (file.text.size() > kMaxBytes) return unreadable(file.name, "larger than 16 MiB");
  }
  return file;
}

Result<ManifestFile> read_one(const std::string& path) {
  auto text = read_file(path, kMaxBytes);
  if (!text) return unreadable(path, text.error().message());
  return ManifestFile{.name = path, .text = *std::move(text)};
}

Result<std::vector<std::string>> manifests_in(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code failure;
  fs::directory_iterator entries(directory, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    const std::string extension = entries->path().extension().string();
    const bool manifest = extension == ".yaml" || extension == ".yml" || extension == ".json";
    std::error_code ignored;
    if (manifest && entries->is_regular_file(ignored)) paths.push_back(entries->path().string());
  }
  if (failure) return unreadable(directory, failure.message());
  if (paths.empty()) return unreadable(directory, "no *.yaml, *.yml or *.json file in it");
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

Result<std::vector<ManifestFile>> read_manifest_files(const std::vector<std::string>& paths,
                                                      std::istream& in) {
  std::vector<ManifestFile> files;
  for (const std::string& path : paths) {
    if (path == "-") {
      files.push_back(TRY(read_stream(in)));
      continue;
    }
    std::error_code failure;
    const bool is_directory = fs::is_directory(path, failure);
    const std::vector<std::string> single{path};
    for (const std::string& file : is_directory ? TRY(manifests_in(path)) : single) {
      files.push_back(TRY(read_one(file)));
    }
  }
  return files;
}

}  // namespace vmferry::cli
