#include "coordinator/volumes/directories.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/fd.h"
#include "coordinator/volumes/claim_directory.h"

namespace vmferry::volumes {
namespace {

using kube::types::kPersistentVolumeClaim;
using kube::types::kStorageClass;
using nlohmann::json;

constexpr const char* kProvisioner = "vmferry.io/directory";
constexpr const char* kPathAnnotation = "vmferry.io/path";
constexpr const char* kClassPathAnnotation = "vmferry.io/class-path";
constexpr const char* kDefaultAnnotation = "storageclass.kubernetes.io/is-default-class";
// On a claim with a directory: its object goes after its data, whoever deletes it.
constexpr const char* kDataFinalizer = "vmferry.io/claim-data";

std::string field(const json& object, const json::json_pointer& path) {
  return object.contains(path) && object.at(path).is_string() ? object.at(path).get<std::string>()
                                                              : "";
}

std::string parameter(const kube::Object& storage_class, const char* name) {
  return field(storage_class.json(), json::json_pointer("/parameters/" + std::string(name)));
}

bool is_block(const kube::Object& claim) {
  return field(claim.json(), json::json_pointer("/spec/volumeMode")) == "Block";
}

std::vector<std::string> split_devices(const std::string& text) {
  std::vector<std::string> devices;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    std::string part = text.substr(begin, comma - begin);
    part.erase(0, part.find_first_not_of(" \n\t"));
    part.erase(part.find_last_not_of(" \n\t") + 1);
    if (!part.empty()) devices.push_back(part);
    begin = comma + 1;
  }
  return devices;
}

// One device may have many names (/dev/disk/by-id/...).
std::string canonical(const std::string& path) {
  std::error_code error;
  const std::filesystem::path result = std::filesystem::canonical(path, error);
  return error ? path : result.string();
}

Result<std::uint64_t> block_device_size(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error(errno, "cannot open device '" + path + "'");
  struct stat state {};
  if (fstat(fd.get(), &state) != 0) return errno_error(errno, "cannot examine '" + path + "'");
  if (!S_ISBLK(state.st_mode)) {
    return coded_error(ErrorKind::InvalidArgument, code::kStorageClass,
                       "'{}' is not a block device", path);
  }
  const off_t size = lseek(fd.get(), 0, SEEK_END);
  if (size < 0) return errno_error(errno, "cannot measure device '" + path + "'");
  return static_cast<std::uint64_t>(size);
}

Result<void> check_free_space(const std::string& path, std::uint64_t needed) {
  struct statvfs state {};
  if (statvfs(path.c_str(), &state) != 0) {
    return errno_error(errno, "cannot ask for the free space of '" + path + "'");
  }
  const std::uint64_t available = std::uint64_t{state.f_bavail} * state.f_frsize;
  if (needed <= available) return {};
  return coded_error(ErrorKind::ResourceExhausted, code::kTargetFull,
                     "'{}' has {} free, the disk needs {}", path, human_bytes(available),
                     human_bytes(needed));
}

json owner_json(const kube::OwnerReference& owner) {
  return {{"apiVersion", owner.api_version},
          {"kind", owner.kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", owner.controller},
          {"blockOwnerDeletion", owner.block_owner_deletion}};
}

kube::Object claim_object(const ClaimSpec& spec, const kube::Object& storage_class,
                          const std::string& path, const std::string& class_path) {
  json metadata{{"name", spec.key.name},
                {"namespace", spec.key.ns},
                {"labels", spec.labels},
                {"annotations", spec.annotations},
                {"ownerReferences", json::array({owner_json(spec.owner)})}};
  metadata["annotations"][kPathAnnotation] = path;
  if (!class_path.empty()) {
    metadata["annotations"][kClassPathAnnotation] = class_path;
    metadata["finalizers"] = json::array({kDataFinalizer});
  }
  const bool block = spec.volume_mode == VolumeMode::Block;
  return kube::Object(
      {{"apiVersion", "v1"},
       {"kind", "PersistentVolumeClaim"},
       {"metadata", std::move(metadata)},
       {"spec",
        {{"accessModes", {spec.access_mode}},
         {"resources", {{"requests", {{"storage", std::to_string(spec.request_bytes)}}}}},
         {"storageClassName", storage_class.name()},
         {"volumeMode", block ? "Block" : "Filesystem"},
         {"volumeName", "vmferry-" + spec.key.ns + "-" + spec.key.name}}}});
}

}  // namespace

DirectoryVolumes::DirectoryVolumes(kube::Reader& reader, kube::Writer& writer, std::string home)
    : DirectoryVolumes(reader, writer, std::move(home), block_device_size) {}

DirectoryVolumes::DirectoryVolumes(kube::Reader& reader, kube::Writer& writer, std::string home,
                                   DeviceSize device_size)
    : reader_(reader),
      writer_(writer),
      home_(std::move(home)),
      device_size_(std::move(device_size)) {}

Result<kube::Object> DirectoryVolumes::find_class(const std::string& name, std::stop_token stop) {
  const kube::ObjectList list = TRY(reader_.list(kStorageClass, {}, stop));
  std::string names;
  for (const kube::Object& item : list.items) {
    const bool wanted =
        name.empty() ? item.annotation(kDefaultAnnotation) == "true" : item.name() == name;
    names += (names.empty() ? "" : ", ") + item.name();
    if (!wanted) continue;
    const std::string provisioner = field(item.json(), json::json_pointer("/provisioner"));
    if (provisioner == kProvisioner) return item;
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "storage class '{}' has provisioner '{}', which needs a cluster; here it "
                       "must be {}",
                       item.name(), provisioner, kProvisioner);
  }
  const std::string there = names.empty() ? "there is none yet" : "there are: " + names;
  if (name.empty()) {
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "no storage class is the default ({}: \"true\"); {}", kDefaultAnnotation,
                       there);
  }
  return coded_error(ErrorKind::NotFound, code::kStorageClass,
                     "storage class '{}' does not exist; {}", name, there);
}

// Empty: the class has devices only.
Result<std::string> DirectoryVolumes::class_path(const kube::Object& storage_class) const {
  std::string path = parameter(storage_class, "path");
  if (path.empty()) return path;
  if (path.front() != '/') path = home_ + "/" + path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Result<std::string> DirectoryVolumes::free_device(const kube::Object& storage_class,
                                                  const ClaimSpec& spec, std::stop_token stop) {
  const std::vector<std::string> devices = split_devices(parameter(storage_class, "devices"));
  if (devices.empty()) {
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "storage class '{}' is a directory: it holds volumes of mode Filesystem; "
                       "ask for that mode, or name block devices in parameters.devices",
                       storage_class.name());
  }
  std::set<std::string> taken;
  const kube::ObjectList claims = TRY(reader_.list(kPersistentVolumeClaim, {}, stop));
  for (const kube::Object& claim : claims.items) {
    if (const auto path = claim.annotation(kPathAnnotation)) taken.insert(canonical(*path));
  }
  const std::uint64_t needed = std::max(spec.disk_bytes, std::uint64_t{1});
  std::string best;
  std::uint64_t best_size = 0;
  std::uint64_t largest_free = 0;
  for (const std::string& device : devices) {
    if (device.front() != '/' || taken.contains(canonical(device))) continue;
    const std::uint64_t size = TRY(device_size_(device));
    largest_free = std::max(largest_free, size);
    if (size < needed || (!best.empty() && size >= best_size)) continue;
    best = device;
    best_size = size;
  }
  if (best.empty()) {
    return coded_error(ErrorKind::ResourceExhausted, code::kTargetFull,
                       "storage class '{}' has no free device of {}; the largest free one has {}",
                       storage_class.name(), human_bytes(needed), human_bytes(largest_free));
  }
  return best;
}

// Where the claim will be: a device, or the claim's disk file.
Result<std::string> DirectoryVolumes::place(const kube::Object& storage_class,
                                            const ClaimSpec& spec, std::stop_token stop) {
  if (spec.volume_mode == VolumeMode::Block) return free_device(storage_class, spec, stop);
  const std::string path = TRY(class_path(storage_class));
  if (path.empty()) {
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "storage class '{}' names no directory in parameters.path",
                       storage_class.name());
  }
  TRY(make_directories(path));
  if (parameter(storage_class, "overcommit") != "true") {
    TRY(check_free_space(path, spec.disk_bytes != 0 ? spec.disk_bytes : spec.request_bytes));
  }
  return claim_path(path, spec.key) + "/" + kDiskFile;
}

Result<void> DirectoryVolumes::ensure_claim(const ClaimSpec& spec, std::stop_token stop) {
  if (!is_safe_name(spec.key.ns) || !is_safe_name(spec.key.name)) {
    return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe,
                       "'{}' cannot be the name of a claim's directory", spec.key.to_string());
  }
  const std::lock_guard lock(choosing_);
  const std::optional<kube::Object> existing =
      TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, spec.key, stop));
  if (existing) {
    if (!existing->controlled_by(spec.owner.uid)) {
      return coded_error(ErrorKind::AlreadyExists, code::kNameTaken,
                         "claim '{}' exists and belongs to somebody else", spec.key.to_string());
    }
    if (existing->deleting()) {
      return make_error(ErrorKind::Aborted, "claim '{}' is being removed", spec.key.to_string());
    }
    return finish(*existing, stop);
  }
  const kube::Object storage_class = TRY(find_class(spec.storage_class, stop));
  const std::string path = TRY(place(storage_class, spec, stop));
  const bool block = spec.volume_mode == VolumeMode::Block;
  const std::string directory = block ? "" : TRY(class_path(storage_class));
  ClaimSpec owned = spec;
  owned.owner.controller = true;  // what controlled_by() goes by
  const kube::Object claim = TRY(writer_.create(
      kPersistentVolumeClaim, claim_object(owned, storage_class, path, directory), {}, stop));
  return finish(claim, stop);
}

// From an existing object on; repeats harmlessly.
Result<void> DirectoryVolumes::finish(const kube::Object& claim, std::stop_token stop) {
  if (!is_block(claim)) {
    const std::string directory = claim.annotation(kClassPathAnnotation).value_or("");
    TRY(make_claim_directory(directory, claim.key(), claim.uid()));
  }
  if (field(claim.json(), json::json_pointer("/status/phase")) == "Bound") return {};
  const json& spec = claim.json().at("spec");
  const json status{
      {"phase", "Bound"},
      {"accessModes", spec.value("accessModes", json::array())},
      {"capacity", spec.value(json::json_pointer("/resources/requests"), json::object())}};
  TRY(writer_.patch_status(kPersistentVolumeClaim, claim.key(), {{"status", status}}, stop));
  return {};
}

Result<std::optional<ReachableVolume>> DirectoryVolumes::make_reachable(
    const kube::ObjectKey& claim, std::string& waiting_for, std::stop_token stop) {
  const kube::Object object = TRY(reader_.get(kPersistentVolumeClaim, claim, stop));
  const std::optional<std::string> path = object.annotation(kPathAnnotation);
  if (!path || field(object.json(), json::json_pointer("/status/phase")) != "Bound") {
    waiting_for = "claim '" + claim.to_string() + "' to be bound";
    return std::optional<ReachableVolume>();
  }
  if (!is_block(object)) {
    // Proves that the directory is there and is this claim's; makes it where it was lost.
    TRY(make_claim_directory(object.annotation(kClassPathAnnotation).value_or(""), claim,
                             object.uid()));
  }
  ReachableVolume volume;
  volume.target = {.claim_uid = object.uid(),
                   .name = claim.to_string(),
                   .path = *path,
                   .block = is_block(object),
                   .pod_uid = {},
                   .volume = {}};
  return std::optional<ReachableVolume>(std::move(volume));
}

// Nothing is held: agents open the path for the time of the copy.
Result<bool> DirectoryVolumes::release(const kube::ObjectKey&, std::stop_token) { return true; }

Result<void> DirectoryVolumes::remove_claim(const kube::ObjectKey& claim,
                                            const std::string& owner_uid, std::stop_token stop) {
  const std::optional<kube::Object> object =
      TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, claim, stop));
  // Another's claim of this name means that ours is gone or never was.
  if (!object || !object->controlled_by(owner_uid)) return {};
  TRY(remove_data(*object, stop));
  const Result<void> removed =
      writer_.remove(kPersistentVolumeClaim, claim, kube::Propagation::Background,
                     {.uid = object->uid(), .resource_version = ""}, stop);
  if (!removed && removed.error().kind() != ErrorKind::NotFound) return removed;
  return {};
}

// The data, and then what held the object for it.
Result<void> DirectoryVolumes::remove_data(const kube::Object& claim, std::stop_token stop) {
  if (is_block(claim)) return {};
  TRY(remove_claim_directory(claim.annotation(kClassPathAnnotation).value_or(""), claim.key(),
                             claim.uid()));
  if (!claim.has_finalizer(kDataFinalizer)) return {};
  std::vector<std::string> left = claim.finalizers();
  std::erase(left, kDataFinalizer);
  const auto patched = writer_.patch(
      kPersistentVolumeClaim, claim.key(),
      {{"metadata", {{"finalizers", left}, {"resourceVersion", claim.resource_version()}}}}, {},
      stop);
  if (!patched && patched.error().kind() != ErrorKind::NotFound) return patched.error();
  return {};
}

// Only claims that this store knows: a class's directory may be shared with another installation,
// and what a lost or restored store does not remember is not rubbish.
Result<int> DirectoryVolumes::sweep(std::stop_token stop) {
  int removed = 0;
  std::optional<Error> failed;
  const kube::ObjectList claims = TRY(reader_.list(kPersistentVolumeClaim, {}, stop));
  for (const kube::Object& claim : claims.items) {
    if (!claim.deleting() || !claim.has_finalizer(kDataFinalizer)) continue;
    const std::lock_guard lock(choosing_);
    if (auto gone = remove_data(claim, stop); gone) {
      ++removed;
    } else if (!failed) {
      failed = std::move(gone).error().with_context("claim '" + claim.key().to_string() + "'");
    }
  }
  if (failed) return *std::move(failed);
  return removed;
}

}  // namespace vmferry::volumes
