/** Why tests of ceph/s3-tests do not pass against the embedded server: the first pattern that fits a name has the reason. */

const sse = 'Encryption at rest is not done: the server answers NotImplemented, where a key is given and where none is.'
const tenants = 'Ceph’s tenants (`tenant:bucket`) are not part of S3.'
const rgw = 'An extension of Ceph’s gateway that S3 does not have: usage figures, unordered listings.'

export const reasons: readonly (readonly [RegExp, string])[] = [
  [/sse_|sse-|_kms|kms_|encrypt|copy_enc|copy_part_enc|enc_conflict|_noenc|bucket_encryption/, sse],
  [/presigned_\w+_v2|_v2$/, 'Signature Version 2 is refused.'],
  [/different_tenant|tenanted_bucket/, tenants],
  [/usage|head_extended|unordered/, rgw],
  [/get_object_torrent/, 'BitTorrent is not done, nor by S3 any more.'],
  [
    /iam_|_iam|cross_account|_account|self_denied|policy_with_principal/,
    'Users and roles of IAM are not done: who may what comes with the keys.',
  ],
  [
    /bucket_recreate/,
    'Making one’s own bucket again succeeds and changes nothing, as S3 has it in its first region; the test wants an error.',
  ],
  [/list_buckets_anonymous/, 'Nobody in particular is refused the list of buckets; the test wants an empty one.'],
  [
    /resend_first_finishes_last/,
    'The test completes an upload with the same part twice, which S3 refuses as InvalidPartOrder.',
  ],
  [
    /set_get_unicode_metadata/,
    'The client sends UTF-8 in a header and reads Latin-1 from one; the suite marks it as failing on Ceph’s gateway too.',
  ],
  [
    /end_with_IfExists/,
    'The test expects a permission with a condition to bind the owner of the bucket; the suite marks it as failing on Ceph’s gateway too.',
  ],
  [
    /put_obj_request_obj_tag/,
    'The test adds its header to one client and sends with another; the suite marks it as failing on Ceph’s gateway too.',
  ],
  [/object_read_unreadable/, 'The key is valid UTF-8 and is simply not there; the test wants 400 instead of 404.'],
  [/delete_marker_nonversioned/, 'The test wants `x-amz-delete-marker: false` on objects that never had a marker.'],
]
